"""Long checks against programs that nobody here wrote: what ``make conformance`` runs beside the tests."""
