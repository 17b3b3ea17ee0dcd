"""What all warehouses behind a database server do alike."""
