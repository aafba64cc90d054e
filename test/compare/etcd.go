package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcdNode is a member of etcd in this process.
type etcdNode struct{ member *embed.Etcd }

// openEtcd leaves etcd as it is by default, timeouts too, but that no snapshots are taken.
func openEtcd(ctx context.Context, cfg workerConfig) (engine, error) {
	settings := embed.NewConfig()
	settings.Name, settings.Dir = strconv.FormatUint(cfg.Replica, 10), cfg.Dir
	settings.LogLevel = "fatal" // it calls its own end an error
	settings.SnapshotCount = math.MaxUint64
	own := func(addresses map[uint64]string) []url.URL {
		return []url.URL{{Scheme: "http", Host: addresses[cfg.Replica]}}
	}
	settings.ListenPeerUrls, settings.AdvertisePeerUrls = own(cfg.Addresses), own(cfg.Addresses)
	settings.ListenClientUrls, settings.AdvertiseClientUrls = own(cfg.Service), own(cfg.Service)
	var members []string
	for id, address := range cfg.Addresses {
		members = append(members, fmt.Sprintf("%d=http://%s", id, address))
	}
	settings.InitialCluster = strings.Join(members, ",")
	member, err := embed.StartEtcd(settings)
	if err != nil {
		return nil, fmt.Errorf("start the member: %w", err)
	}
	select {
	case <-member.Server.ReadyNotify():
		return &etcdNode{member: member}, nil
	case err = <-member.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	member.Close()
	return nil, fmt.Errorf("start the member: %w", err)
}

// settle implements engine. Whoever leads the group may: the clients ask the leader.
func (n *etcdNode) settle() {}

// led implements engine.
func (n *etcdNode) led() []uint64 {
	if n.member.Server.Leader() != n.member.Server.MemberID() {
		return nil
	}
	return []uint64{1}
}

// propose implements engine.
func (n *etcdNode) propose(context.Context, int, uint64, []byte) (known bool, err error) {
	return false, errors.New("clients ask etcd from a process of their own")
}

// applied implements engine: every command makes a key of its own.
func (n *etcdNode) applied() (int, error) {
	all := &etcdserverpb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Serializable: true, CountOnly: true}
	found, err := n.member.Server.Range(context.Background(), all)
	if err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	return int(found.Count), nil
}

// close implements engine.
func (n *etcdNode) close() error {
	n.member.Close()
	return nil
}

// etcdClients are connections to the leader: with those to the others, a put takes one hop more.
type etcdClients struct {
	connections []*clientv3.Client
	puts        []etcdserverpb.KVClient
}

func openEtcdClients(ctx context.Context, cfg workerConfig) (engine, error) {
	c := &etcdClients{}
	leader, err := etcdLeader(ctx, cfg.Service)
	if err != nil {
		return nil, err
	}
	for range cfg.Connections {
		connection, err := dialEtcd(leader)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.connections = append(c.connections, connection)
		// What clientv3.Put does, without what it does to repeat a put: nothing is left that costs.
		c.puts = append(c.puts, etcdserverpb.NewKVClient(connection.ActiveConnection()))
	}
	return c, nil
}

func dialEtcd(address string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{"http://" + address}, DialTimeout: patience, Logger: zap.NewNop()})
}

// etcdLeader asks the members, until one says that it leads.
func etcdLeader(ctx context.Context, service map[uint64]string) (string, error) {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	for {
		for _, address := range service {
			client, err := dialEtcd(address)
			if err != nil {
				return "", err
			}
			status, err := client.Status(ctx, "http://"+address)
			if err = errors.Join(err, client.Close()); err != nil {
				return "", fmt.Errorf("look for the leader: %w", err)
			}
			if status.Leader == status.Header.MemberId {
				return address, nil
			}
		}
		time.Sleep(settleRound)
	}
}

// settle implements engine.
func (c *etcdClients) settle() {}

// led implements engine.
func (c *etcdClients) led() []uint64 { return []uint64{1} }

// propose implements engine: a put is answered once it is committed and applied at the member that is asked.
func (c *etcdClients) propose(ctx context.Context, client int, _ uint64, payload []byte) (known bool, err error) {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	put := &etcdserverpb.PutRequest{Key: scattered(payload), Value: payload}
	if _, err = c.puts[client%len(c.puts)].Put(ctx, put); err != nil {
		return false, fmt.Errorf("put: %w", err)
	}
	return true, nil
}

// applied implements engine: the members count.
func (c *etcdClients) applied() (int, error) { return 0, nil }

// close implements engine.
func (c *etcdClients) close() error {
	var all error
	for _, connection := range c.connections {
		all = errors.Join(all, connection.Close())
	}
	return all
}
