"""A bundle for other systems: web page, REST interface, Open Inference Protocol, DICOM node, orchestrators' folders."""
