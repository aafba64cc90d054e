package wsapi

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// message is what a client may send. Fields that a type does not use are ignored.
type message struct {
	Type string `json:"type"`

	// authenticate
	Method   string    `json:"method"`
	Token    string    `json:"token"`
	Protocol *speaking `json:"protocol"`

	// subscribe
	Subscription *wanted `json:"subscription"`

	// subscribe_all
	ID            string   `json:"id"`
	Subscriptions []wanted `json:"subscriptions"`

	// next_batch, unsubscribe
	SubscriptionID string  `json:"subscription_id"`
	LastSeqID      *cursor `json:"last_seq_id"`
}

// wanted is a subscription that is asked for.
type wanted struct {
	ID      string   `json:"id"`
	SQL     string   `json:"sql"`
	Options *options `json:"options"`
}

// speaking is the protocol object of authenticate.
type speaking struct {
	Serialization string `json:"serialization"`
	Compression   string `json:"compression"`
}

func (s *speaking) protocol() (protocol, error) {
	if s == nil || s.Serialization == "" || s.Compression == "" {
		return protocol{}, errors.New("authenticate needs protocol with serialization and compression")
	}
	if s.Serialization != "json" && s.Serialization != "msgpack" {
		return protocol{}, errors.New("protocol.serialization is json or msgpack")
	}
	if s.Compression != "gzip" && s.Compression != "none" {
		return protocol{}, errors.New("protocol.compression is gzip or none")
	}
	return protocol{msgpack: s.Serialization == "msgpack", gzip: s.Compression == "gzip"}, nil
}

// options say what a subscription begins with.
type options struct {
	BatchSize *int    `json:"batch_size"`
	LastRows  *int    `json:"last_rows"`
	From      *cursor `json:"from"`
	FromSeqID *cursor `json:"from_seq_id"`
}

func (o *options) initial() *live.Initial {
	if o == nil {
		return nil
	}
	initial := &live.Initial{LastRows: o.LastRows}
	if o.BatchSize != nil {
		initial.BatchSize = *o.BatchSize
	}
	from := o.From
	if from == nil {
		from = o.FromSeqID
	}
	if from != nil {
		initial.From = new(uint64(*from))
	}
	return initial
}

// cursor is a _seq: a number, or, as in rows, a string of digits.
type cursor uint64

// UnmarshalJSON implements json.Unmarshaler.
func (c *cursor) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseUint(strings.Trim(string(text), `"`), 10, 64)
	*c = cursor(n)
	return err
}

func parseMessage(text []byte) (*message, error) {
	m := &message{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, err
	}
	return m, nil
}

// Ids of errors that belong to no subscription.
const (
	idProtocol  = "protocol"
	idRateLimit = "rate_limit"
	idInvalid   = "invalid_subscription"
)

// Codes beside those of package live.
const (
	codeAuthRequired    = "AUTH_REQUIRED"
	codeMessageTooLarge = "MESSAGE_TOO_LARGE"
	codeRateLimit       = "RATE_LIMIT_EXCEEDED"
	codeUnsupportedData = "UNSUPPORTED_DATA"
	codeProtocol        = "PROTOCOL"
	codeSlowConsumer    = "SLOW_CONSUMER"
)

func errorMessage(id, code, text string) []byte {
	dst := append([]byte(`{"type":"error","subscription_id":`), quote(id)...)
	dst = append(append(dst, `,"code":`...), quote(code)...)
	dst = append(append(dst, `,"message":`...), quote(text)...)
	return append(dst, '}')
}

// endMessage is errorMessage for a live query that could not begin or go on.
func endMessage(id string, why *live.Error) []byte {
	dst := errorMessage(id, string(why.Code), why.Message)
	if why.Final {
		dst = append(dst[:len(dst)-1], `,"final":true}`...)
	}
	return dst
}

func authSuccess(user string, role session.Role, p protocol) []byte {
	serialization, compression := "json", "none"
	if p.msgpack {
		serialization = "msgpack"
	}
	if p.gzip {
		compression = "gzip"
	}
	dst := append([]byte(`{"type":"auth_success","user":`), quote(user)...)
	dst = append(append(dst, `,"role":`...), quote(role.String())...)
	dst = append(dst, `,"protocol":{"serialization":"`...)
	dst = append(append(append(dst, serialization...), `","compression":"`...), compression...)
	return append(dst, `"}}`...)
}

func authError(text string) []byte {
	return append(append([]byte(`{"type":"auth_error","message":`), quote(text)...), '}')
}

// appendControl appends the batch_control member.
func appendControl(dst []byte, batch *live.Batch) []byte {
	dst = append(dst, `"batch_control":{"batch_num":`...)
	dst = strconv.AppendInt(dst, int64(batch.Number), 10)
	dst = append(dst, `,"has_more":`...)
	dst = strconv.AppendBool(dst, batch.HasMore)
	status := "ready"
	switch {
	case batch.HasMore && batch.Number == 0:
		status = "loading"
	case batch.HasMore:
		status = "loading_batch"
	}
	dst = append(append(append(dst, `,"status":"`...), status...), `","last_seq_id":`...)
	if batch.LastSeq == 0 {
		return append(dst, "null}"...)
	}
	return append(strconv.AppendUint(dst, batch.LastSeq, 10), '}')
}

func ackMessage(sub *live.Subscription, batch *live.Batch) []byte {
	dst := append([]byte(`{"type":"subscription_ack","subscription_id":`), quote(sub.ID)...)
	dst = append(dst, `,"total_rows":0,`...)
	dst = append(appendControl(dst, batch), `,"schema":[`...)
	for i, column := range sub.Schema() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, `{"name":`...), quote(column.Name)...)
		dst = append(append(dst, `,"data_type":`...), column.Type.WireName()...)
		dst = strconv.AppendInt(append(dst, `,"index":`...), int64(i), 10)
		if flags := column.Flags(); len(flags) > 0 {
			dst = append(append(append(dst, `,"flags":["`...), strings.Join(flags, `","`)...), `"]`...)
		}
		dst = append(dst, '}')
	}
	if sub.Whole() {
		return append(dst, `],"whole":true}`...)
	}
	return append(dst, `]}`...)
}

// cutMessage says that the initial rows of subscriptions that began together are all there, and where they stand.
func cutMessage(id string, subs []*live.Subscription) []byte {
	dst := append([]byte(`{"type":"cut_ready","id":`), quote(id)...)
	dst = append(dst, `,"subscriptions":[`...)
	for i, sub := range subs {
		if i > 0 {
			dst = append(dst, ',')
		}
		group, seq := sub.Position()
		dst = append(append(dst, `{"subscription_id":`...), quote(sub.ID)...)
		dst = strconv.AppendUint(append(dst, `,"group_id":`...), uint64(group), 10)
		dst = strconv.AppendUint(append(dst, `,"position":`...), seq, 10)
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}

func batchMessage(id string, batch *live.Batch) []byte {
	dst := make([]byte, 0, len(batch.Rows)+len(id)+160)
	dst = append(dst, `{"type":"initial_data_batch","subscription_id":`...)
	dst = datum.AppendJSONString(dst, id)
	dst = append(append(dst, `,"rows":`...), batch.Rows...)
	return append(appendControl(append(dst, ','), batch), '}')
}
