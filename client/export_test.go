package client

// MaxLeaders is how many tables' leaders a client remembers.
const MaxLeaders = maxLeaders
