"""What rayreel's parts achieve, compared with the common way (the peer) and with what the machine allows (the limit)."""
