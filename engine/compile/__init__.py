"""From placements to a schedule: fusion, layout, tiling, residency, addresses in memory."""
