package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// What a process has to say to be heard by the nodes of `kalamdb bench`: they take proposals from members. It is in the metadata of every call.
const (
	clusterUID    = "01000000000000000000000000000000"
	clientReplica = 100 // none of the nodes
	protocol      = "1"
	forwardMethod = "/kalamdb.node.v1.NodeService/Forward"
)

// kalamdbClients are connections to every node. A proposal goes to the node that leads its group, or to the one that it names.
type kalamdbClients struct {
	nodes   map[uint64]*kalamdbNode
	groups  []uint64
	leaders map[uint64]*atomic.Uint64 // by group
}

// kalamdbNode is what is known of one node.
type kalamdbNode struct {
	connections []*grpc.ClientConn
	streams     []*forwardStream // one on each connection, where proposals travel together
	hello       metadata.MD
}

// groupsOf are those of `kalamdb bench`: the meta group, user shards and one shared shard.
func groupsOf(count uint64) []uint64 {
	groups := []uint64{10}
	for i := range count - 2 {
		groups = append(groups, 100+i)
	}
	return append(groups, 200)
}

func openKalamDBClients(ctx context.Context, cfg workerConfig) (engine, error) {
	c := &kalamdbClients{nodes: make(map[uint64]*kalamdbNode), groups: groupsOf(cfg.Groups), leaders: make(map[uint64]*atomic.Uint64)}
	for id, address := range cfg.Service {
		node := &kalamdbNode{hello: metadata.Pairs("kalamdb-cluster-uid", clusterUID, "kalamdb-protocol", protocol,
			"kalamdb-from", strconv.Itoa(clientReplica), "kalamdb-to", strconv.FormatUint(id, 10))}
		c.nodes[id] = node
		for range cfg.Connections / nodes {
			connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				return nil, errors.Join(err, c.close())
			}
			node.connections = append(node.connections, connection)
		}
	}
	if cfg.Streams {
		if err := c.openStreams(ctx); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	for i, group := range c.groups {
		c.leaders[group] = &atomic.Uint64{}
		c.leaders[group].Store(uint64(i%nodes + 1)) // the first answer says better
	}
	return c, nil
}

// settle implements engine.
func (c *kalamdbClients) settle() {}

// led implements engine.
func (c *kalamdbClients) led() []uint64 { return c.groups }

// propose implements engine: a call is answered once the command is committed and applied at the leader, as a put of etcd is.
func (c *kalamdbClients) propose(ctx context.Context, client int, group uint64, payload []byte) (known bool, err error) {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	request := forwardRequest{group: group, data: payload}
	copy(request.id[:], payload[:8])
	request.id[15] = clientReplica
	for range nodes + 1 { // a hint may be older than the leader
		leader := c.leaders[group].Load()
		answer, err := c.nodes[leader].forward(ctx, client, &request)
		switch {
		case err != nil:
			return false, fmt.Errorf("propose to group %d: %w", group, err)
		case answer.code == 0:
			return true, nil
		case answer.code == forwardUnknown:
			return false, nil
		case answer.code != forwardNotLeader:
			return false, fmt.Errorf("group %d answers %d: %s", group, answer.code, answer.message)
		case c.nodes[answer.leader] != nil:
			c.leaders[group].CompareAndSwap(leader, answer.leader)
		}
	}
	return false, nil
}

// forward asks the node, by a call or on a stream.
func (n *kalamdbNode) forward(ctx context.Context, client int, request *forwardRequest) (answer forwardResponse, err error) {
	at := client % len(n.connections)
	if len(n.streams) > 0 {
		return n.streams[at].call(ctx, request)
	}
	err = n.connections[at].Invoke(metadata.NewOutgoingContext(ctx, n.hello), forwardMethod, request, &answer, grpc.ForceCodecV2(forwardCodec{}))
	return answer, err
}

// openStreams opens one on each connection.
func (c *kalamdbClients) openStreams(ctx context.Context) error {
	for _, node := range c.nodes {
		for _, connection := range node.connections {
			stream, err := openForwardStream(metadata.NewOutgoingContext(ctx, node.hello), connection)
			if err != nil {
				return err
			}
			node.streams = append(node.streams, stream)
		}
	}
	return nil
}

// applied implements engine: the nodes count.
func (c *kalamdbClients) applied() (int, error) { return 0, nil }

// close implements engine.
func (c *kalamdbClients) close() error {
	var all error
	for _, node := range c.nodes {
		for _, stream := range node.streams {
			stream.close()
		}
		for _, connection := range node.connections {
			all = errors.Join(all, connection.Close())
		}
	}
	return all
}

// scattered is the key of a numbered command: that under which the nodes of `kalamdb bench` store it, scattered over all keys.
func scattered(payload []byte) []byte {
	return binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(payload)*0x9e3779b97f4a7c15)
}
