"""Use of a bundle by other systems: web service, DICOM node, folders of orchestrators."""
