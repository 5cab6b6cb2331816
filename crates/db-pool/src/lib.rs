//! Runs blocking diesel closures on a bounded pool from async code
