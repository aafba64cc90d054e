package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Validate checks every field and the rules between fields. The error names each wrong key with its value
// and what is allowed.
func (c *Config) Validate() error {
	var wrong []error
	// The visitor never fails, so walk cannot.
	_ = walk(c, func(f field) error {
		if err := f.check(); err != nil {
			wrong = append(wrong, err)
		}
		return nil
	})
	wrong = append(wrong, c.checkServer()...)
	wrong = append(wrong, c.checkAuth()...)
	wrong = append(wrong, c.checkSecurity()...)
	wrong = append(wrong, c.checkTimers()...)
	wrong = append(wrong, c.checkCluster()...)
	wrong = append(wrong, c.checkTLS()...)
	return errors.Join(wrong...)
}

func invalid(key string, value any, allowed string) error {
	if text, ok := value.(string); ok {
		value = strconv.Quote(text)
	}
	return fmt.Errorf("%s = %v: allowed: %s", key, value, allowed)
}

func (f field) check() error {
	if least, greatest, ok := f.bounds(); ok {
		if f.value.CanInt() && (f.value.Int() < least || f.value.Int() > greatest) ||
			f.value.CanUint() && (f.value.Uint() < uint64(least) || f.value.Uint() > uint64(greatest)) { //nolint:gosec // bounds of unsigned fields are not negative
			return invalid(f.name, f.value.Interface(), f.allowed())
		}
	}
	if words := f.tag.Get("oneof"); words != "" && !slices.Contains(strings.Split(words, "|"), f.value.String()) {
		return invalid(f.name, f.value.String(), f.allowed())
	}
	return nil
}

func (c *Config) checkServer() (wrong []error) {
	if c.Server.Host == "" || strings.ContainsAny(c.Server.Host, " \t\n/") {
		wrong = append(wrong, invalid("server.host", c.Server.Host, "an IP address or host name; 0.0.0.0 for all"))
	}
	if c.Storage.DataPath == "" || strings.ContainsRune(c.Storage.DataPath, 0) {
		wrong = append(wrong, invalid("storage.data_path", c.Storage.DataPath, "the path of a directory"))
	}
	if key := c.Storage.CredentialsKey; key != "" {
		for word := range strings.SplitSeq(key, ",") {
			if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(word)); err != nil || len(raw) != 32 {
				wrong = append(wrong, invalid("storage.credentials_key", "***", "the base64 of 32 random bytes, such as openssl rand -base64 32 prints; several separated by commas"))
				break
			}
		}
	}
	if c.Performance.GCPercent == -1 && c.Performance.MemoryLimitBytes == 0 {
		wrong = append(wrong, invalid("performance.gc_percent", -1, "-1 only together with performance.memory_limit_bytes"))
	}
	if limits := c.Limits; limits.MaxQueryLimit > 0 && limits.DefaultQueryLimit > limits.MaxQueryLimit {
		wrong = append(wrong, invalid("limits.default_query_limit", limits.DefaultQueryLimit,
			fmt.Sprintf("at most limits.max_query_limit, which is %d", limits.MaxQueryLimit)))
	}
	if c.Limits.MaxSQLBytes > c.RateLimit.RequestBodyLimitBytes {
		wrong = append(wrong, invalid("limits.max_sql_bytes", c.Limits.MaxSQLBytes,
			fmt.Sprintf("at most rate_limit.request_body_limit_bytes, which is %d", c.RateLimit.RequestBodyLimitBytes)))
	}
	return wrong
}

func (c *Config) checkAuth() (wrong []error) {
	auth := c.Auth
	if auth.MinPasswordLength > auth.MaxPasswordLength {
		wrong = append(wrong, invalid("auth.min_password_length", auth.MinPasswordLength,
			fmt.Sprintf("at most auth.max_password_length, which is %d", auth.MaxPasswordLength)))
	}
	if auth.JWTRefreshExpiryHours < auth.JWTExpiryHours {
		wrong = append(wrong, invalid("auth.jwt_refresh_expiry_hours", auth.JWTRefreshExpiryHours,
			fmt.Sprintf("at least auth.jwt_expiry_hours, which is %d", auth.JWTExpiryHours)))
	}
	if len(auth.RootPassword) > auth.MaxPasswordLength {
		wrong = append(wrong, invalid("auth.root_password", "***",
			fmt.Sprintf("text of at most %d bytes", auth.MaxPasswordLength)))
	}
	return wrong
}

func (c *Config) checkSecurity() (wrong []error) {
	for _, text := range c.Security.TrustedProxyRanges {
		if _, err := ParseRange(text); err != nil {
			wrong = append(wrong, invalid("security.trusted_proxy_ranges", text, "an IP address or a CIDR range"))
		}
	}
	cors := c.Security.CORS
	if cors.AllowCredentials && slices.Contains(cors.AllowedOrigins, "*") {
		wrong = append(wrong, invalid("security.cors.allow_credentials", true, "true only with named origins, not with *"))
	}
	return wrong
}

// ParseRange reads an IP address, which is a range of one, or a CIDR range.
func ParseRange(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("address range %q: %w", text, err)
		}
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("address %q: %w", text, err)
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func (c *Config) checkTimers() []error {
	const key = "cluster.election_timeout_ms"
	const greatestMillis = 600_000
	pair := c.Cluster.ElectionTimeoutMillis
	if len(pair) != 2 || pair[0] < 1 || pair[1] <= pair[0] || pair[1] > greatestMillis {
		return []error{invalid(key, pair,
			fmt.Sprintf("[least, greatest] with 1 <= least < greatest <= %d", greatestMillis))}
	}
	if pair[0] < 2*c.Cluster.HeartbeatIntervalMillis {
		return []error{invalid(key, pair,
			fmt.Sprintf("least at least twice cluster.heartbeat_interval_ms, which is %d", c.Cluster.HeartbeatIntervalMillis))}
	}
	if c.Cluster.PeerWaitMaxDelayMillis < c.Cluster.PeerWaitInitialMillis {
		return []error{invalid("cluster.peer_wait_max_delay_ms", c.Cluster.PeerWaitMaxDelayMillis,
			fmt.Sprintf("at least cluster.peer_wait_initial_delay_ms, which is %d", c.Cluster.PeerWaitInitialMillis))}
	}
	return nil
}

func (c *Config) checkCluster() (wrong []error) {
	cluster := c.Cluster
	if c.Standalone() {
		if len(cluster.Peers) > 0 || cluster.Join.Wanted {
			wrong = append(wrong, invalid("cluster.cluster_id", "", "a name, since cluster.peers or cluster.join is set"))
		}
		return wrong
	}
	if len(cluster.ClusterID) > 128 || strings.ContainsAny(cluster.ClusterID, "\x00\n\r") {
		wrong = append(wrong, invalid("cluster.cluster_id", cluster.ClusterID, "one line of at most 128 bytes"))
	}
	const address = "host:port"
	host, err := hostOf(cluster.RPCAddr, true)
	if err != nil {
		wrong = append(wrong, invalid("cluster.rpc_addr", cluster.RPCAddr, address))
	} else if !isLoopbackHost(host) && !c.RPCTLS.Enabled && !cluster.AllowInsecureRPC {
		wrong = append(wrong, invalid("cluster.rpc_addr", cluster.RPCAddr,
			"a loopback address, unless rpc_tls.enabled or cluster.allow_insecure_rpc is true"))
	}
	if cluster.APIAddr != "" && !validAPIAddress(cluster.APIAddr) {
		wrong = append(wrong, invalid("cluster.api_addr", cluster.APIAddr, "host:port or http(s)://host:port"))
	}
	wrong = append(wrong, cluster.Join.check()...)
	return append(wrong, cluster.checkPeers()...)
}

func (c Cluster) checkPeers() (wrong []error) {
	const maxPeers = 64
	if len(c.Peers) > maxPeers {
		return []error{invalid("cluster.peers", fmt.Sprintf("list of %d", len(c.Peers)), fmt.Sprintf("at most %d nodes", maxPeers))}
	}
	ids := make(map[uint64]bool, len(c.Peers))
	addresses := make(map[string]bool, len(c.Peers))
	for i, peer := range c.Peers {
		key := fmt.Sprintf("cluster.peers[%d]", i)
		if peer.NodeID == 0 || peer.NodeID > 1<<53-1 || ids[peer.NodeID] {
			wrong = append(wrong, invalid(key+".node_id", peer.NodeID, "a number of its own, from 1"))
		}
		if _, err := hostOf(peer.RPCAddr, false); err != nil || addresses[peer.RPCAddr] {
			wrong = append(wrong, invalid(key+".rpc_addr", peer.RPCAddr, "host:port of its own"))
		}
		if peer.APIAddr != "" && !validAPIAddress(peer.APIAddr) {
			wrong = append(wrong, invalid(key+".api_addr", peer.APIAddr, "host:port or http(s)://host:port"))
		}
		ids[peer.NodeID], addresses[peer.RPCAddr] = true, true
	}
	return wrong
}

func (c *Config) checkTLS() (wrong []error) {
	if !c.RPCTLS.Enabled {
		return nil
	}
	for _, file := range []struct{ key, path string }{
		{"rpc_tls.ca_cert", c.RPCTLS.CACert},
		{"rpc_tls.server_cert", c.RPCTLS.ServerCert},
		{"rpc_tls.server_key", c.RPCTLS.ServerKey},
	} {
		if file.path == "" {
			wrong = append(wrong, invalid(file.key, file.path, "the path of a PEM file, since rpc_tls.enabled is true"))
		}
	}
	return wrong
}

// hostOf reads host:port and returns the host; a port of zero is accepted only where the kernel may choose.
func hostOf(address string, zeroPort bool) (host string, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", address, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 && !zeroPort {
		return "", fmt.Errorf("address %q: port %q", address, port)
	}
	if host == "" || strings.ContainsAny(host, " \t\n/@") {
		return "", fmt.Errorf("address %q: host %q", address, host)
	}
	return host, nil
}

func validAPIAddress(address string) bool {
	if strings.Contains(address, "://") {
		parsed, err := url.Parse(address)
		return err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != ""
	}
	_, err := hostOf(address, true)
	return err == nil
}
