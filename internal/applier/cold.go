package applier

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
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

// commitSegment makes a file part of a scope, and removes the hot rows that are in it.
func (d *Data) commitSegment(
	batch *storage.Batch, header *commandv1.Header, body *commandv1.CommitSegment,
) (*commandv1.Response, error) {
	scope := coldScope{ident.TableID(body.GetTableId()), ident.UserID(body.GetUser())}
	m, refusal, err := d.admitCold(batch, scope, body.GetRevision(), body.GetExpectVersion())
	if refusal != nil || err != nil {
		return refusal, err
	}
	segment := body.GetSegment()
	switch {
	case len(m.GetSegments()) >= manifest.MaxSegments:
		return command.Refuse(fault.LimitExceeded, "the scope has %d segments; compact the table first", len(m.GetSegments())), nil
	case segment.GetNumber() < m.GetNextNumber() || bytes.Compare(segment.GetMinKey(), segment.GetMaxKey()) > 0:
		return command.Refuse(fault.Internal, "the segment cannot be part of the table"), nil
	}
	if refusal, err = d.removeFlushed(batch, scope, segment, body.GetUptoIndex(), header.GetLogFormat()); refusal != nil || err != nil {
		return refusal, err
	}
	segment.Added = m.GetVersion() + 1
	m.Segments = append(m.Segments, segment)
	m.NextNumber = segment.GetNumber() + 1
	return done("Segment %d added", segment.GetNumber()), d.putManifest(batch, scope, m, header.GetNowMicros())
}

// maxKept is how many rows may stay in a range that is deleted as one; with more of them each row that goes is deleted by
// itself.
const maxKept = 1024

// removeFlushed removes the hot rows within the keys of a segment that were written up to an index. Exactly those are in
// the file: of each key the newest version is stored, so a row that was changed since is of a later index.
func (d *Data) removeFlushed(
	batch *storage.Batch, scope coldScope, segment *commandv1.Segment, uptoIndex uint64, logFormat uint32,
) (*commandv1.Response, error) {
	low := keys.Row(d.group, scope.table, scope.user, segment.GetMinKey())
	high := append(keys.Row(d.group, scope.table, scope.user, segment.GetMaxKey()), 0)
	last, err := d.lastWrite(batch, uint64(scope.table), string(scope.user))
	if err != nil {
		return nil, err
	}
	if last == 0 { // the user was purged; the account that has the name now must not see what was read before
		return command.Refuse(fault.Conflict, "the rows were removed meanwhile; run the job again"), nil
	}
	if last <= uptoIndex && !invariant.Enabled {
		return nil, batch.DeleteRange(low, high)
	}
	var kept, values [][]byte
	removed, found := uint64(0), uint64(0)
	err = d.eachFlushed(batch, low, high, uptoIndex, func(key, value []byte, gone bool) error {
		found++
		switch {
		case gone:
			removed++
		case len(kept) <= maxKept:
			kept, values = append(kept, bytes.Clone(key)), append(values, bytes.Clone(value))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if removed > segment.GetRows() {
		return command.Refuse(fault.Internal, "the segment has %d rows and would replace %d", segment.GetRows(), removed), nil
	}
	// A row that is there since before the index shows that the scope was not purged since. Without one, what is hot may be of another account of the
	// name, which must not see what is in the file; or all of the file is old.
	if last > uptoIndex && removed == 0 && logFormat >= command.FlushFormat {
		return command.Refuse(fault.NotFound, "all rows of the segment were changed or removed meanwhile"), nil
	}
	if last > uptoIndex && found < segment.GetRows() { // each row of the file is still there, or a newer version of it
		return command.Refuse(fault.Conflict, "the rows were removed meanwhile; run the job again"), nil
	}
	if len(kept) > maxKept {
		return nil, d.eachFlushed(batch, low, high, uptoIndex, func(key, _ []byte, gone bool) error {
			if !gone {
				return nil
			}
			return batch.Delete(key)
		})
	}
	if err := batch.DeleteRange(low, high); err != nil {
		return nil, err
	}
	for i := range kept {
		if err := batch.Set(kept[i], values[i]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// eachFlushed visits the hot rows of a range and says of each whether it was written up to an index.
func (d *Data) eachFlushed(
	batch *storage.Batch, low, high []byte, uptoIndex uint64, visit func(key, value []byte, gone bool) error,
) error {
	it, err := batch.Scan(low, high)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		var seq uint64
		if err == nil {
			seq, _, _, err = rowvalue.Decode(value)
		}
		if err == nil {
			err = visit(it.Key(), value, command.SeqIndex(seq) <= uptoIndex)
		}
		if err != nil {
			_ = it.Close() // the first error is the one that matters
			return fmt.Errorf("move rows: row %x: %w", it.Key(), err)
		}
	}
	return it.Close()
}

// replaceSegments puts segments in the place of others that hold the same rows.
func (d *Data) replaceSegments(
	batch *storage.Batch, nowMicros int64, body *commandv1.ReplaceSegments,
) (*commandv1.Response, error) {
	scope := coldScope{ident.TableID(body.GetTableId()), ident.UserID(body.GetUser())}
	m, refusal, err := d.admitCold(batch, scope, body.GetRevision(), body.GetExpectVersion())
	if refusal != nil || err != nil {
		return refusal, err
	}
	added := uint64(0)
	var left, gone []*commandv1.Segment
	for _, s := range m.GetSegments() {
		if slices.Contains(body.GetNumbers(), s.GetNumber()) {
			added, gone = max(added, s.GetAdded()), append(gone, s)
		} else {
			left = append(left, s)
		}
	}
	if len(left)+len(body.GetNumbers()) != len(m.GetSegments()) {
		return command.Refuse(fault.Internal, "a segment that would be replaced is not there"), nil
	}
	for _, s := range body.GetSegments() {
		// Its number may be lower than the next one: a flush may have taken a later one while these were written.
		if numbered(left, s.GetNumber()) || numbered(gone, s.GetNumber()) || bytes.Compare(s.GetMinKey(), s.GetMaxKey()) > 0 {
			return command.Refuse(fault.Internal, "the segment cannot be part of the table"), nil
		}
		// What is known of its rows was known before: no statement has to look again.
		s.Added, m.NextNumber = added, max(m.GetNextNumber(), s.GetNumber()+1)
		left = append(left, s)
	}
	m.Segments, m.Replaced = left, remember(m.GetReplaced(), gone)
	return done("%d segments replaced", len(body.GetNumbers())), d.putManifest(batch, scope, m, nowMicros)
}

func numbered(segments []*commandv1.Segment, number uint64) bool {
	return slices.ContainsFunc(segments, func(s *commandv1.Segment) bool { return s.GetNumber() == number })
}

// remember adds segments to what is remembered of those that were replaced.
func remember(replaced *commandv1.ReplacedSegments, gone []*commandv1.Segment) *commandv1.ReplacedSegments {
	for _, s := range gone {
		if replaced == nil {
			replaced = &commandv1.ReplacedSegments{MinKey: s.GetMinKey(), MaxKey: s.GetMaxKey()}
		}
		if bytes.Compare(s.GetMinKey(), replaced.GetMinKey()) < 0 {
			replaced.MinKey = s.GetMinKey()
		}
		if bytes.Compare(s.GetMaxKey(), replaced.GetMaxKey()) > 0 {
			replaced.MaxKey = s.GetMaxKey()
		}
		replaced.Added, replaced.MaxSeq = max(replaced.GetAdded(), s.GetAdded()), max(replaced.GetMaxSeq(), s.GetMaxSeq())
	}
	return replaced
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
