package catalog

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// storedFormat is the first byte of every value in the meta group's catalog keys.
const storedFormat byte = 1

var errMalformed = errors.New("malformed catalog record")

// Marshal encodes a record as it is stored under a catalog key: one format byte and the deterministic protobuf form.
func Marshal(record proto.Message) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{storedFormat}, record)
	if err != nil {
		return nil, fmt.Errorf("encode catalog record: %w", err)
	}
	return data, nil
}

// unmarshal is the inverse of Marshal.
func unmarshal(data []byte, record proto.Message) error {
	if len(data) == 0 || data[0] != storedFormat {
		return fmt.Errorf("%w: unknown format", errMalformed)
	}
	if err := proto.Unmarshal(data[1:], record); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// ClusterToProto converts to the stored form.
func ClusterToProto(c *Cluster) *commandv1.Cluster {
	p := &commandv1.Cluster{
		ClusterUid:    c.UID[:],
		ClusterId:     c.ID,
		UserShards:    c.Shards.UserShards,
		SharedShards:  c.Shards.SharedShards,
		FoundedMicros: c.FoundedMicros,
		RequestWindow: c.RequestWindow,
		LogFormat:     c.LogFormat,
	}
	for _, lost := range c.Lost {
		p.LostUids = append(p.LostUids, lost[:])
	}
	return p
}

// raisedFormat is the first byte of the record of a cluster whose log format is raised, so that a program that knows no
// such logs does not start on it.
const raisedFormat byte = 2

// MarshalCluster encodes a cluster as it is stored.
func MarshalCluster(c *Cluster) ([]byte, error) {
	value, err := Marshal(ClusterToProto(c))
	if err == nil && c.LogFormat > 0 {
		value[0] = raisedFormat
	}
	return value, err
}

// unmarshalCluster is the inverse of MarshalCluster.
func unmarshalCluster(value []byte) (*Cluster, error) {
	raised := len(value) > 0 && value[0] == raisedFormat
	if raised {
		value = append([]byte{storedFormat}, value[1:]...)
	}
	record := &commandv1.Cluster{}
	if err := unmarshal(value, record); err != nil {
		return nil, err
	}
	if raised != (record.GetLogFormat() > 0) || record.GetLogFormat() > command.LogFormat {
		return nil, fmt.Errorf("%w: the cluster's log has format %d; this program reads %d", errMalformed, record.GetLogFormat(), command.LogFormat)
	}
	return ClusterFromProto(record)
}

// ClusterFromProto converts from the stored form.
func ClusterFromProto(p *commandv1.Cluster) (*Cluster, error) {
	uid, err := id16(p.GetClusterUid())
	if err != nil {
		return nil, fmt.Errorf("cluster uid: %w", err)
	}
	c := &Cluster{
		UID:           uid,
		ID:            p.GetClusterId(),
		Shards:        shard.Map{UserShards: p.GetUserShards(), SharedShards: p.GetSharedShards()},
		FoundedMicros: p.GetFoundedMicros(),
		RequestWindow: p.GetRequestWindow(),
		LogFormat:     p.GetLogFormat(),
	}
	if err = c.Shards.Validate(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	for _, raw := range p.GetLostUids() {
		if uid, err = id16(raw); err != nil {
			return nil, fmt.Errorf("uid of a lost cluster: %w", err)
		}
		c.Lost = append(c.Lost, uid)
	}
	return c, nil
}

// MemberToProto converts to the stored form.
func MemberToProto(m *Member) *commandv1.Member {
	p := &commandv1.Member{
		ReplicaId:    uint64(m.Replica),
		NodeId:       uint64(m.Node),
		StoreId:      m.Store[:],
		RpcAddr:      m.RPCAddr,
		ApiAddr:      m.APIAddr,
		Replaces:     uint64(m.Replaces),
		Removed:      m.Removed,
		JoinedMicros: m.JoinedMicros,
		Observes:     groupNumbers(m.Observes),
	}
	for _, s := range m.Lost {
		p.Lost = append(p.Lost, &commandv1.Standing{Replaces: uint64(s.Replaces), Removed: s.Removed, Observes: groupNumbers(s.Observes)})
	}
	return p
}

func groupNumbers(groups []shard.GroupID) []uint64 {
	var numbers []uint64
	for _, id := range groups {
		numbers = append(numbers, uint64(id))
	}
	return numbers
}

func groupIDs(numbers []uint64) []shard.GroupID {
	var groups []shard.GroupID
	for _, number := range numbers {
		groups = append(groups, shard.GroupID(number))
	}
	return groups
}

// MemberFromProto converts from the stored form.
func MemberFromProto(p *commandv1.Member) (*Member, error) {
	store, err := id16(p.GetStoreId())
	if err != nil {
		return nil, fmt.Errorf("member store id: %w", err)
	}
	m := &Member{
		Replica:      ident.ReplicaID(p.GetReplicaId()),
		Node:         ident.NodeID(p.GetNodeId()),
		Store:        store,
		RPCAddr:      p.GetRpcAddr(),
		APIAddr:      p.GetApiAddr(),
		Replaces:     ident.ReplicaID(p.GetReplaces()),
		Removed:      p.GetRemoved(),
		JoinedMicros: p.GetJoinedMicros(),
		Observes:     groupIDs(p.GetObserves()),
	}
	for _, s := range p.GetLost() {
		m.Lost = append(m.Lost, Standing{ident.ReplicaID(s.GetReplaces()), s.GetRemoved(), groupIDs(s.GetObserves())})
	}
	return m, nil
}

// NamespaceToProto converts to the stored form.
func NamespaceToProto(n *Namespace) *commandv1.Namespace {
	return &commandv1.Namespace{Name: n.Name, Options: n.Options, CreatedMicros: n.CreatedMicros}
}

// NamespaceFromProto converts from the stored form; the options are shared with it.
func NamespaceFromProto(p *commandv1.Namespace) *Namespace {
	return &Namespace{Name: p.GetName(), Options: p.GetOptions(), CreatedMicros: p.GetCreatedMicros()}
}

// UserToProto converts to the stored form.
func UserToProto(u *User) *commandv1.User {
	p := &commandv1.User{
		Id:                string(u.ID),
		PasswordHash:      u.PasswordHash,
		Role:              uint32(u.Role),
		Email:             u.Email,
		AuthType:          u.AuthType,
		AuthData:          u.AuthData,
		FailedLogins:      u.FailedLogins,
		LockedUntilMicros: u.LockedUntilMicros,
		LastLoginMicros:   u.LastLoginMicros,
		CreatedMicros:     u.CreatedMicros,
		UpdatedMicros:     u.UpdatedMicros,
		DeletedMicros:     u.DeletedMicros,
	}
	for _, f := range u.Families {
		p.Families = append(p.Families, &commandv1.TokenFamily{
			Id: f.ID[:], Serial: f.Serial, RotatedMicros: f.RotatedMicros, ExpiresMicros: f.ExpiresMicros, Revoked: f.Revoked,
		})
	}
	return p
}

// UserFromProto converts from the stored form.
func UserFromProto(p *commandv1.User) (*User, error) {
	if p.GetId() == "" {
		return nil, fmt.Errorf("%w: user without an id", errMalformed)
	}
	if p.GetRole() > uint32(session.RoleSystem) {
		return nil, fmt.Errorf("%w: user %s has role %d", errMalformed, p.GetId(), p.GetRole())
	}
	families := make([]TokenFamily, 0, len(p.GetFamilies()))
	for _, stored := range p.GetFamilies() {
		id, err := id16(stored.GetId())
		if err != nil {
			return nil, fmt.Errorf("user %s: tokens: %w", p.GetId(), err)
		}
		families = append(families, TokenFamily{
			ID: id, Serial: stored.GetSerial(), RotatedMicros: stored.GetRotatedMicros(), ExpiresMicros: stored.GetExpiresMicros(),
			Revoked: stored.GetRevoked(),
		})
	}
	if len(families) == 0 {
		families = nil
	}
	return &User{
		Families:          families,
		ID:                ident.UserID(p.GetId()),
		PasswordHash:      p.GetPasswordHash(),
		Role:              session.Role(p.GetRole()), //nolint:gosec // checked above
		Email:             p.GetEmail(),
		AuthType:          p.GetAuthType(),
		AuthData:          p.GetAuthData(),
		FailedLogins:      p.GetFailedLogins(),
		LockedUntilMicros: p.GetLockedUntilMicros(),
		LastLoginMicros:   p.GetLastLoginMicros(),
		CreatedMicros:     p.GetCreatedMicros(),
		UpdatedMicros:     p.GetUpdatedMicros(),
		DeletedMicros:     p.GetDeletedMicros(),
	}, nil
}

func id16(raw []byte) (id [16]byte, err error) {
	if len(raw) != len(id) {
		return id, fmt.Errorf("%w: identifier of %d bytes", errMalformed, len(raw))
	}
	copy(id[:], raw)
	return id, nil
}
