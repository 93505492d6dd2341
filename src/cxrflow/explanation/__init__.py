"""Where the network looks: Grad-CAM of test images."""
