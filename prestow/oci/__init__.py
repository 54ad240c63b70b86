"""Documents of an image (image-spec 1.1 and Docker schema 2), pure: raw bytes in, checked values out."""
