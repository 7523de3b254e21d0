//! Matrix products straight from packed weights, one table per instruction set
