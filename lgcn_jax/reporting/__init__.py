"""A run as one page that anybody can open: report.html, which needs neither network nor this package."""
