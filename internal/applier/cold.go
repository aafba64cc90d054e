package applier

import (
	"bytes"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// A data group knows which segments its scopes have, not what is in them. Whoever proposes a write has looked, and its
// command says what was found and as of when. That word counts for keys of which the row store has no version, as long as
// nothing can have come between.

// coldScope names a scope.
type coldScope struct {
	table ident.TableID
	user  ident.UserID
}

// coldState mirrors what of a manifest matters to writes.
type coldState struct {
	version  uint64
	segments []coldSegment
}

type coldSegment struct {
	low, high []byte // first and last key
	added     uint64 // version of the manifest
	maxSeq    uint64
}

func mirror(m *commandv1.Manifest) *coldState {
	state := &coldState{version: m.GetVersion()}
	for _, s := range m.GetSegments() {
		state.segments = append(state.segments, coldSegment{s.GetMinKey(), s.GetMaxKey(), s.GetAdded(), s.GetMaxSeq()})
	}
	if r := m.GetReplaced(); r != nil {
		state.segments = append(state.segments, coldSegment{r.GetMinKey(), r.GetMaxKey(), r.GetAdded(), r.GetMaxSeq()})
	}
	return state
}

// coldWord is what a command says of the cold rows of its scopes.
type coldWord struct {
	data  *Data
	batch *storage.Batch
	reads map[coldScope]coldStatement
}

// coldStatement is as of when the sender knew the cold rows of a scope.
type coldStatement struct {
	version   uint64
	untouched bool // nobody wrote into the scope since the sender looked at it
}

// wordOf reads the statements of a command. It costs nothing as long as the group has no segments.
func (d *Data) wordOf(batch *storage.Batch, body *commandv1.WriteRows) (*coldWord, error) {
	if len(d.cold) == 0 {
		return nil, nil
	}
	word := &coldWord{data: d, batch: batch, reads: make(map[coldScope]coldStatement, len(body.GetCold()))}
	for _, read := range body.GetCold() {
		last, err := d.lastWrite(batch, read.GetTableId(), read.GetUser())
		if err != nil {
			return nil, err
		}
		word.reads[coldScope{ident.TableID(read.GetTableId()), ident.UserID(read.GetUser())}] = coldStatement{
			version: read.GetVersion(), untouched: last <= read.GetIndex(),
		}
	}
	return word, nil
}

// holds reports whether what the command says of a key that is not hot is still true.
func (w *coldWord) holds(table uint64, user string, primaryKey []byte) bool {
	if w == nil {
		return true
	}
	scope := coldScope{ident.TableID(table), ident.UserID(user)}
	state, ok := w.data.cold[scope]
	if !ok {
		return true // there is nothing cold
	}
	said, ok := w.reads[scope]
	if ok && (said.untouched || said.version >= state.version) {
		return true
	}
	for i := range state.segments {
		s := &state.segments[i]
		if s.added > said.version && bytes.Compare(s.low, primaryKey) <= 0 && bytes.Compare(primaryKey, s.high) <= 0 {
			return false
		}
	}
	return true
}

// hasCold reports whether a scope has segments.
func (d *Data) hasCold(table uint64, user string) bool {
	_, ok := d.cold[coldScope{ident.TableID(table), ident.UserID(user)}]
	return ok
}

// coldSince reports whether a row within a range of keys may have been written after the range was read, and moved into a
// segment since.
func (d *Data) coldSince(span *commandv1.SpanUnchanged) bool {
	state, ok := d.cold[coldScope{ident.TableID(span.GetTableId()), ident.UserID(span.GetUser())}]
	if !ok {
		return false
	}
	for i := range state.segments {
		s := &state.segments[i]
		below := len(span.GetHigh()) > 0 && bytes.Compare(s.low, span.GetHigh()) >= 0
		if command.SeqIndex(s.maxSeq) > span.GetIndex() && bytes.Compare(s.high, span.GetLow()) >= 0 && !below {
			return true
		}
	}
	return false
}

// coldKeySince reports whether the cold version of a key may have been written after an index.
func (d *Data) coldKeySince(table uint64, user string, primaryKey []byte, index uint64) bool {
	high := append(bytes.Clone(primaryKey), 0)
	return d.coldSince(&commandv1.SpanUnchanged{TableId: table, User: user, Low: primaryKey, High: high, Index: index})
}

func coldMoved() *commandv1.Response {
	return command.Refuse(fault.Conflict, "rows of the table were moved to cold storage meanwhile; run the statement again")
}

// coldVersion is the version that a write says to be cold.
func coldVersion(row *commandv1.RowWrite) version {
	if row.GetColdSeq() == 0 {
		return version{}
	}
	return version{seq: row.GetColdSeq(), live: true, row: row.GetColdRow()}
}

// readManifest returns the manifest of a scope; an empty one when there is none.
func (d *Data) readManifest(batch *storage.Batch, scope coldScope) (*commandv1.Manifest, error) {
	value, ok, err := batch.Get(keys.Manifest(d.group, scope.table, scope.user))
	if err != nil || !ok {
		return &commandv1.Manifest{}, err
	}
	m, err := manifest.Decode(value)
	if err != nil {
		return nil, fmt.Errorf("%w: manifest of table %d: %w", storage.ErrCorruption, scope.table, err)
	}
	return m, nil
}

func (d *Data) putManifest(batch *storage.Batch, scope coldScope, m *commandv1.Manifest, nowMicros int64) error {
	if m.GetCreatedMicros() == 0 {
		m.CreatedMicros = nowMicros
	}
	m.UpdatedMicros = nowMicros
	m.Version++
	value, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	d.cold[scope] = mirror(m)
	return batch.SetRare(keys.Manifest(d.group, scope.table, scope.user), value)
}

// admitCold refuses what concerns a scope that cannot have segments, a descriptor behind the fence, or another manifest
// than the expected one.
func (d *Data) admitCold(
	batch *storage.Batch, scope coldScope, revision uint32, expectVersion uint64,
) (*commandv1.Manifest, *commandv1.Response, error) {
	if refusal := d.admitTable(scope.table); refusal != nil {
		return nil, refusal, nil
	}
	if d.private == (scope.user == "") {
		return nil, command.Refuse(fault.Internal, "the scope of the segment is none of group %s", d.group), nil
	}
	if revision < d.fences[scope.table] {
		return nil, altered(), nil
	}
	m, err := d.readManifest(batch, scope)
	if err != nil {
		return nil, nil, err
	}
	if m.GetVersion() != expectVersion {
		return nil, command.Refuse(fault.Conflict,
			"the cold rows were changed meanwhile (manifest %d, expected %d); run the job again", m.GetVersion(), expectVersion), nil
	}
	return m, nil, nil
}

// forgetCold removes the manifests of a dropped table. Its files are orphans from then on.
func (d *Data) forgetCold(table ident.TableID) {
	for scope := range d.cold { // the order of what is deleted from memory does not matter
		if scope.table == table {
			delete(d.cold, scope)
		}
	}
}

func (d *Data) restoreCold(reader storage.Reader) error {
	d.cold = make(map[coldScope]*coldState)
	it, err := reader.Scan(keys.ManifestsSpan(d.group))
	if err != nil {
		return fmt.Errorf("restore manifests: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		key, err := keys.ParseManifest(it.Key())
		var value []byte
		if err == nil {
			value, err = it.Value()
		}
		var m *commandv1.Manifest
		if err == nil {
			m, err = manifest.Decode(value)
		}
		if err != nil {
			_ = it.Close() // the first error is the one that matters
			return fmt.Errorf("restore manifests: %w: %w", storage.ErrCorruption, err)
		}
		d.cold[coldScope{key.Table, key.User}] = mirror(m)
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("restore manifests: %w", err)
	}
	return nil
}
