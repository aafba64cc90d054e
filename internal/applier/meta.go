package applier

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Meta applies the commands of the meta group. It reads the state from the picture that it edits, which is
// the same as the keys, and writes both.
type Meta struct {
	store  *catalog.Store
	editor *catalog.Editor
}

// NewMeta returns the applier of the meta group; Restore must be called before Apply.
func NewMeta(store *catalog.Store) *Meta { return &Meta{store: store} }

// Restore builds the picture from the keys and publishes it.
func (m *Meta) Restore(reader storage.Reader) error {
	picture, err := catalog.Load(reader)
	if err != nil {
		return err
	}
	m.editor = picture.Edit()
	m.store.Publish(picture)
	return nil
}

// Publish makes the picture with everything that was staged the current one.
func (m *Meta) Publish() { m.store.Publish(m.editor.Picture()) }

// Announce has nobody to tell: the catalog tells by itself.
func (m *Meta) Announce() {}

// Finish moves the picture to the index of the last entry of a run. The index is stored beside the catalog,
// because a restarted node must come back with exactly the index that data commands may wait for.
func (m *Meta) Finish(batch *storage.Batch, index uint64) error {
	m.editor.SetIndex(index)
	return setSequence(batch, catalog.SequenceIndex, index)
}

// Apply stages one command. The batch shows the effects of the commands before it.
func (m *Meta) Apply(batch *storage.Batch, index uint64, cmd *commandv1.Command) (*commandv1.Response, error) {
	invariant.Check(m.editor != nil, "the meta group applies before it is restored")
	c := metaCall{
		Editor: m.editor, batch: batch, index: index, now: cmd.GetHeader().GetNowMicros(), note: cmd.GetHeader().GetAudit(),
	}
	response, err := c.apply(cmd)
	if err != nil {
		return nil, err
	}
	return response, c.audit(cmd.GetHeader().GetActor(), response)
}

func (c *metaCall) apply(cmd *commandv1.Command) (*commandv1.Response, error) {
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_Found:
		return c.found(body.Found)
	case *commandv1.Command_CreateNamespace:
		return c.createNamespace(body.CreateNamespace)
	case *commandv1.Command_DropNamespace:
		return c.dropNamespace(body.DropNamespace)
	case *commandv1.Command_CreateTable:
		return c.createTable(body.CreateTable)
	case *commandv1.Command_DropTable:
		return c.dropTable(body.DropTable)
	case *commandv1.Command_AlterTable:
		return c.alterTable(body.AlterTable)
	case *commandv1.Command_AlterNamespace:
		return c.alterNamespace(body.AlterNamespace)
	case *commandv1.Command_CreateView:
		return c.createView(body.CreateView)
	case *commandv1.Command_DropView:
		return c.dropView(body.DropView)
	case *commandv1.Command_CreateUser:
		return c.createUser(body.CreateUser)
	case *commandv1.Command_AlterUser:
		return c.alterUser(body.AlterUser)
	case *commandv1.Command_DropUser:
		return c.dropUser(body.DropUser)
	case *commandv1.Command_RecordLogin:
		return c.recordLogin(body.RecordLogin)
	case *commandv1.Command_RotateToken:
		return c.rotateToken(body.RotateToken)
	case *commandv1.Command_AddMember:
		return c.ordered(body.AddMember.GetClusterUid(), func() (*commandv1.Response, error) { return c.addMember(body.AddMember) })
	case *commandv1.Command_RaiseLogFormat:
		return c.raiseLogFormat(body.RaiseLogFormat)
	case *commandv1.Command_ChangeVotes:
		return c.ordered(body.ChangeVotes.GetClusterUid(), func() (*commandv1.Response, error) { return c.changeVotes(body.ChangeVotes) })
	case *commandv1.Command_RemoveMember:
		return c.ordered(nil, func() (*commandv1.Response, error) { return c.removeMember(body.RemoveMember) })
	case *commandv1.Command_CleanupDone:
		return c.cleanupDone(body.CleanupDone)
	case *commandv1.Command_CreateStorage:
		return c.createStorage(body.CreateStorage)
	case *commandv1.Command_AlterStorage:
		return c.alterStorage(body.AlterStorage)
	case *commandv1.Command_DropStorage:
		return c.dropStorage(body.DropStorage)
	case *commandv1.Command_RestoreCatalog:
		return c.restoreCatalog(body.RestoreCatalog)
	case *commandv1.Command_RecordBackup:
		return c.recordBackup(body.RecordBackup)
	case *commandv1.Command_ForgetUser:
		return c.forgetUser(body.ForgetUser)
	case *commandv1.Command_RecordAudit:
		return &commandv1.Response{}, nil
	}
	if response, err := c.applyJob(cmd); response != nil || err != nil {
		return response, err
	}
	return misplaced(shard.Meta, cmd), nil
}

// metaCall is one command at work: the picture, the batch, and what the header stamped. Its put and drop
// methods change key and picture together; a command calls them only when nothing can refuse it any more.
type metaCall struct {
	*catalog.Editor
	batch *storage.Batch
	index uint64
	now   int64
	note  *commandv1.AuditNote // nil when the audit log says nothing of the command
	late  bool                 // it is an order about members of the cluster that is the first of Lost
}

func (c *metaCall) put(key []byte, record proto.Message) error {
	value, err := catalog.Marshal(record)
	if err != nil {
		return err
	}
	return c.batch.Set(key, value)
}

func (c *metaCall) putCluster(cluster *catalog.Cluster) error {
	value, err := catalog.MarshalCluster(cluster)
	if err != nil {
		return err
	}
	c.SetCluster(cluster)
	return c.batch.Set(keys.Cluster(), value)
}

func (c *metaCall) putMember(member *catalog.Member) error {
	if c.late {
		member = c.ofLost(member)
	}
	c.SetMember(member)
	return c.put(keys.Member(member.Replica), catalog.MemberToProto(member))
}

func (c *metaCall) putNamespace(namespace *catalog.Namespace) error {
	c.SetNamespace(namespace)
	return c.put(keys.Namespace(namespace.Name), catalog.NamespaceToProto(namespace))
}

func (c *metaCall) putTable(table *schema.Table) error {
	c.SetTable(table)
	return c.put(keys.Table(table.ID), catalog.TableToProto(table))
}

func (c *metaCall) putUser(user *catalog.User) error {
	c.SetUser(user)
	return c.put(keys.User(user.ID), catalog.UserToProto(user))
}

// removeTable takes a table out of the catalog and leaves the record and the job by which its rows are purged
// later.
func (c *metaCall) removeTable(table *schema.Table) (*commandv1.Job, error) {
	dropped := *table
	dropped.UpdatedMicros = c.now
	c.DeleteTable(table.ID)
	c.SetCleanup(&catalog.Cleanup{Table: &dropped, DroppedMicros: c.now})
	if err := c.batch.Delete(keys.Table(table.ID)); err != nil {
		return nil, err
	}
	if err := c.forgetVersions(table); err != nil {
		return nil, err
	}
	if err := c.put(keys.Cleanup(table.ID), catalog.TableToProto(&dropped)); err != nil {
		return nil, err
	}
	return c.cleanupJob(uint64(table.ID))
}

func setSequence(batch *storage.Batch, name string, value uint64) error {
	if err := batch.Set(keys.Sequence(name), binary.BigEndian.AppendUint64(nil, value)); err != nil {
		return fmt.Errorf("sequence %s: %w", name, err)
	}
	return nil
}
