"""The bundle as a service: a web page, a REST interface, the Open Inference Protocol."""
