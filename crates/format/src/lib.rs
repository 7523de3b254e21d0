//! Model containers: read by memory map, written atomically
