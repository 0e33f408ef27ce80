"""HTTP at the centre: pages, exports, the live stream and, in `sensorthings/`, the standard API."""
