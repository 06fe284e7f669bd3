"""Jobs in the cloud: files, requests, checks, senders. No TensorFlow here."""
