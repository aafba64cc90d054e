package server

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

var seqPattern = regexp.MustCompile(`"_seq":"\d+"|"last_seq_id":\d+`)

// texts reads messages as they are, with the digits of cursors taken out.
func (s *socket) texts(count int) []string {
	s.t.Helper()
	var list []string
	for range count {
		if err := s.ws.SetReadDeadline(time.Now().Add(tooLong)); err != nil {
			s.t.Fatal(err)
		}
		kind, data, err := s.ws.ReadMessage()
		if err != nil || kind != websocket.TextMessage {
			s.t.Fatalf("after %q: kind %d, %v", list, kind, err)
		}
		list = append(list, seqPattern.ReplaceAllStringFunc(string(data), func(found string) string {
			return strings.NewReplacer("0", "", "1", "", "2", "", "3", "", "4", "", "5", "", "6", "", "7", "", "8", "", "9", "").Replace(found)
		}))
	}
	return list
}

func (s *socket) wantTexts(what string, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.texts(len(want))); diff != "" {
		s.t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func subscribeText(id, sql, options string) string {
	if options != "" {
		options = `,"options":` + options
	}
	return fmt.Sprintf(`{"type":"subscribe","subscription":{"id":%q,"sql":%q%s}}`, id, sql, options)
}

// TestLiveSurface pins the messages to the letter: acknowledgements with their schema, batches and their status, what
// changes hold, and what the options mean.
func TestLiveSurface(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	c.sql("CREATE TABLE chat.notes (id BIGINT PRIMARY KEY, title TEXT NOT NULL, mood TEXT, owner TEXT) WITH (TYPE='USER')")
	c.sql("INSERT INTO chat.notes VALUES (1, 'a', NULL, 'root'), (2, 'b', 'x', 'root'), (3, 'c', NULL, 'nobody')")
	s := watch(t, n, c)
	const schema = `"schema":[{"name":"id","data_type":"BigInt","index":0,"flags":["pk","nn","uq"]},{"name":"title","data_type":"Text","index":1,"flags":["nn"]},` +
		`{"name":"mood","data_type":"Text","index":2},{"name":"owner","data_type":"Text","index":3},` +
		`{"name":"_seq","data_type":"BigInt","index":4,"flags":["nn"]},{"name":"_deleted","data_type":"Boolean","index":5,"flags":["nn"]}]`
	row := func(id, title, mood, owner string) string {
		return fmt.Sprintf(`{"id":"%s","title":"%s","mood":%s,"owner":"%s","_seq":"","_deleted":false}`, id, title, mood, owner)
	}

	s.send(subscribeText("none", "SELECT * FROM chat.notes", ""))
	s.wantTexts("without options there are no initial rows",
		`{"type":"subscription_ack","subscription_id":"none","total_rows":0,"batch_control":{"batch_num":0,"has_more":false,"status":"ready","last_seq_id":null},`+schema+`}`)
	s.send(`{"type":"unsubscribe","subscription_id":"none"}`)

	s.send(subscribeText("a", "SELECT * FROM chat.notes", `{"batch_size":2}`))
	s.wantTexts("batches go up, and say where they are",
		`{"type":"subscription_ack","subscription_id":"a","total_rows":0,"batch_control":{"batch_num":0,"has_more":true,"status":"loading","last_seq_id":},`+schema+`}`,
		`{"type":"initial_data_batch","subscription_id":"a","rows":[`+row("1", "a", "null", "root")+`,`+row("2", "b", `"x"`, "root")+`],"batch_control":{"batch_num":0,"has_more":true,"status":"loading","last_seq_id":}}`)
	c.sql("UPDATE chat.notes SET mood = 'glad' WHERE id = 1")
	s.send(`{"type":"next_batch","subscription_id":"a","last_seq_id":7}`)
	s.wantTexts("changes come behind the batch that is ready",
		`{"type":"initial_data_batch","subscription_id":"a","rows":[`+row("3", "c", "null", "nobody")+`],"batch_control":{"batch_num":1,"has_more":false,"status":"ready","last_seq_id":}}`,
		`{"type":"change","subscription_id":"a","change_type":"update","rows":[{"id":"1","title":"a","mood":"glad","owner":"root","_seq":"","_deleted":false}],"old_values":[{"id":"1","mood":null,"_seq":""}]}`)
	c.sql("INSERT INTO chat.notes VALUES (4, 'd', NULL, 'root')")
	c.sql("UPDATE chat.notes SET mood = NULL WHERE id = 1")
	c.sql("DELETE FROM chat.notes WHERE id = 2")
	s.wantTexts("an insert is the whole row, an update the key and what is not null, a delete the old row",
		`{"type":"change","subscription_id":"a","change_type":"insert","rows":[`+row("4", "d", "null", "root")+`]}`,
		`{"type":"change","subscription_id":"a","change_type":"update","rows":[{"id":"1","title":"a","owner":"root","_seq":"","_deleted":false}],"old_values":[{"id":"1","mood":"glad","_seq":""}]}`,
		`{"type":"change","subscription_id":"a","change_type":"delete","old_values":[{"id":"2","title":"b","mood":"x","owner":"root","_seq":"","_deleted":true}]}`)
	s.send(`{"type":"unsubscribe","subscription_id":"a"}`)

	s.send(subscribeText("p", "SELECT title FROM chat.notes WHERE owner = CURRENT_USER()", `{"last_rows":1}`))
	s.wantTexts("a projection has its columns and _seq, and the caller is a value",
		`{"type":"subscription_ack","subscription_id":"p","total_rows":0,"batch_control":{"batch_num":0,"has_more":false,"status":"ready","last_seq_id":},"schema":[{"name":"title","data_type":"Text","index":0,"flags":["nn"]}]}`,
		`{"type":"initial_data_batch","subscription_id":"p","rows":[{"title":"a","_seq":""}],"batch_control":{"batch_num":0,"has_more":false,"status":"ready","last_seq_id":}}`)
	c.sql("UPDATE chat.notes SET owner = 'root' WHERE id = 3")
	c.sql("UPDATE chat.notes SET owner = 'nobody' WHERE id = 1")
	c.sql("UPDATE chat.notes SET title = 'unseen' WHERE id = 1")
	c.sql("DELETE FROM chat.notes WHERE id = 4")
	s.wantTexts("who enters the condition is inserted, who leaves it is deleted",
		`{"type":"change","subscription_id":"p","change_type":"insert","rows":[{"title":"c","_seq":""}]}`,
		`{"type":"change","subscription_id":"p","change_type":"delete","old_values":[{"title":"a","_seq":""}]}`,
		`{"type":"change","subscription_id":"p","change_type":"delete","old_values":[{"title":"d","_seq":""}]}`)

	s.send(subscribeText("l", "SELECT * FROM chat.notes", `{"last_rows":3,"batch_size":2}`))
	s.expect("error UNSUPPORTED")
	s.send(subscribeText("l", "SELECT * FROM chat.notes", `{"last_rows":1001}`))
	s.expect("error UNSUPPORTED")
	s.send(subscribeText("l", "SELECT * FROM chat.notes", `{"last_rows":9,"batch_size":2,"from_seq_id":1}`))
	s.next()
	if f := s.next(); f.Code != "" || len(f.Rows) == 0 && f.Control == nil {
		t.Errorf("a cursor goes before last_rows: %+v", f)
	}
}
