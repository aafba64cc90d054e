package client

import "time"

// MaxLeaders is how many tables' leaders a client remembers.
const MaxLeaders = maxLeaders

// SetSilence says for how long nothing may come from a server before a subscription leaves it.
func (c *Client) SetSilence(silence time.Duration) { c.silence = silence }
