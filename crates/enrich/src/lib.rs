//! What a request's headers tell about browser and place (port Enrich)
