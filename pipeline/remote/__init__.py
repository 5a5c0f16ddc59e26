"""Run and sweep directories at a URI: a working copy here, and whole objects there."""
