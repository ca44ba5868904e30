"""Every stage of a project, from the source model to the package, against programs that nobody here wrote."""
