package server

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// Resolver looks up the names in cluster.join. *net.Resolver is one.
type Resolver interface {
	// LookupHost returns the addresses of a host.
	LookupHost(ctx context.Context, host string) ([]string, error)
	// LookupSRV returns the targets of a service, best first; with empty service and proto, of a whole name.
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

const (
	// resolvePause is how long what cluster.join led to is used before it is looked up again.
	resolvePause = time.Second
	// maxSeeds bounds the addresses that cluster.join leads to; the first ones count.
	maxSeeds = 64
)

// joinSeeds is what cluster.join led to, and when. It belongs to the goroutine that seeks admission.
type joinSeeds struct {
	at       time.Time
	found    []config.Peer
	problems []string
}

// seeds lists where a node looks for its cluster: the configured peers, what cluster.join leads to now and who
// has invited it. problems says which names could not be looked up.
func (n *Node) seeds(ctx context.Context) (seeds []config.Peer, problems []string) {
	seeds = n.cfg.Cluster.Others()
	if addresses := n.cfg.Cluster.Join.Addresses; len(addresses) > 0 {
		if now := n.clock.Now(); n.joining.at.IsZero() || now.Sub(n.joining.at) >= resolvePause {
			n.joining.found, n.joining.problems = n.resolve(ctx, addresses)
			n.joining.at = now
		}
		seeds = append(seeds, n.joining.found...)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, addr := range n.identity.Invited.Addresses {
		seeds = append(seeds, config.Peer{NodeID: n.cfg.Cluster.NodeID + 1, RPCAddr: addr})
	}
	if n.identity.State == stateRepairing {
		seeds = append(slices.Clip(seeds), n.identity.knownPeers(seeds)...)
	}
	return seeds, n.joining.problems
}

// resolve looks up entries of cluster.join: host:port, where the host may have several addresses, or the name of
// an SRV record.
func (n *Node) resolve(ctx context.Context, entries []string) (found []config.Peer, problems []string) {
	bound, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	add := func(host, port string) {
		addresses, err := n.resolver.LookupHost(bound, host)
		if err != nil {
			problems = append(problems, fmt.Sprintf("cluster.join: look up %q: %v", host, err))
		}
		for _, address := range addresses {
			peer := config.Peer{RPCAddr: net.JoinHostPort(address, port)}
			if len(found) < maxSeeds && !slices.Contains(found, peer) {
				found = append(found, peer)
			}
		}
	}
	for _, entry := range entries {
		if host, port, err := net.SplitHostPort(entry); err == nil {
			add(host, port)
			continue
		}
		_, targets, err := n.resolver.LookupSRV(bound, "", "", entry)
		if err != nil {
			problems = append(problems, fmt.Sprintf("cluster.join: look up the service %q: %v", entry, err))
		}
		for _, target := range targets[:min(len(targets), maxSeeds)] {
			add(strings.TrimSuffix(target.Target, "."), strconv.Itoa(int(target.Port)))
		}
	}
	return found, problems
}
