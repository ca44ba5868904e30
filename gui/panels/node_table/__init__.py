"""All nodes with their figures, sortable and filterable."""
