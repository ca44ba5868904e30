"""One typed class per operator; behaviours register against the classes in the folders of their stages."""
