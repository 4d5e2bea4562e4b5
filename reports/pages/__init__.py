"""Pages: what a report consists of, and how it is shown in a browser and as files."""
