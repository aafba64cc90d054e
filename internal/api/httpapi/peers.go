package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// peerAddr returns the address of the TCP peer; the zero Addr when there is none, which is not loopback.
func peerAddr(r *http.Request) netip.Addr { return addrOf(r.RemoteAddr) }

func addrOf(hostPort string) netip.Addr {
	parsed, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return parsed.Addr().Unmap().WithZone("")
}

// peerIsLoopback reports whether the peer is on this machine. Headers play no part.
func peerIsLoopback(r *http.Request) bool { return peerAddr(r).IsLoopback() }

// trusts reports whether the forwarding headers of a peer count.
func (s *Server) trusts(peer netip.Addr) bool {
	if peer.IsLoopback() {
		return true
	}
	for _, prefix := range s.proxies {
		if prefix.Contains(peer) {
			return true
		}
	}
	return false
}

// clientAddr returns the address on whose account a request goes: the peer's, or the one that a trusted
// proxy names. A proxy cannot name a loopback address.
func (s *Server) clientAddr(r *http.Request) netip.Addr {
	peer := peerAddr(r)
	if !s.trusts(peer) {
		return peer
	}
	if lines := r.Header.Values("X-Forwarded-For"); len(lines) > 0 {
		for _, hop := range slices.Backward(strings.Split(strings.Join(lines, ","), ",")) {
			addr, ok := forwarded(hop)
			if !ok {
				break
			}
			if !s.trusts(addr) {
				return addr
			}
		}
	}
	if named := r.Header.Get("X-Real-Ip"); named != "" {
		if addr, ok := forwarded(named); ok && !addr.IsLoopback() {
			return addr
		}
	}
	return peer
}

func forwarded(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	addr := addrOf(text)
	return addr, addr.IsValid()
}

// rateKey is what an address is counted under: itself, or for IPv6 its /64, which one subscriber owns.
func rateKey(addr netip.Addr) string {
	if addr.Is6() {
		const subscriberBits = 64
		if prefix, err := addr.Prefix(subscriberBits); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}

// isHTTPS reports whether the client spoke https, to us or to a trusted proxy.
func (s *Server) isHTTPS(r *http.Request) bool {
	return r.TLS != nil || s.trusts(peerAddr(r)) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
