package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// wire is what a server sends.
func wire(messages ...pgproto3.BackendMessage) (all []byte) {
	for _, m := range messages {
		all, _ = m.Encode(all)
	}
	return all
}

var (
	idle   = &pgproto3.ReadyForQuery{TxStatus: 'I'}
	opened = wire(&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "15.4"}, &pgproto3.BackendKeyData{SecretKey: make([]byte, 4)}, idle)
)

// canned is a connection to a server that sends these bytes, and then ends it. It reads whatever it is sent.
type canned struct {
	net.Conn
	sent io.Reader
}

func (c *canned) Read(p []byte) (int, error) { return c.sent.Read(p) }

// serve returns the target of a server that sends these bytes.
func serve(t testing.TB, sent []byte) Target {
	t.Helper()
	target, err := NewTarget(Config{Host: "server", User: "u", Database: "d", Password: "p", SSLMode: "disable"})
	if err != nil {
		t.Fatal(err)
	}
	target.conn.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil }
	target.conn.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		return &canned{client, bytes.NewReader(sent)}, nil
	}
	return target
}

// converse logs in to a server that sends these bytes, and sends it two batches.
func converse(t testing.TB, sent []byte) (read int, err error) {
	c, err := serve(t, sent).Connect(t.Context(), time.Minute)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for range 2 {
		b := c.Begin("READ ONLY", Limits{Idle: time.Second, Lock: time.Second})
		for range 3 {
			b.Rows("SELECT 1", func(row []byte) error { read += len(row); return nil })
		}
		if err = c.Send(t.Context(), b, time.Minute); err != nil {
			return read, err
		}
	}
	return read, nil
}

// answerAll answers everything that converse sends, each of the last statements with a message.
func answerAll(row ...pgproto3.BackendMessage) (all []byte) {
	done := &pgproto3.CommandComplete{CommandTag: []byte("SET")}
	batch := (&Conn{pg: new(pgconn.PgConn)}).Begin("", Limits{}) // of a server whose version is not known, as many as of version 15
	for range 2 {
		begin := slices.Repeat([]pgproto3.BackendMessage{done}, batch.begin)
		rest := slices.Repeat([]pgproto3.BackendMessage{done}, len(batch.statements)-batch.begin)
		all = append(append(all, wire(append(begin, idle)...)...), wire(rest...)...)
		for range 3 {
			all = append(all, wire(append(row, done)...)...)
		}
		all = append(all, wire(idle)...)
	}
	return all
}

// FuzzServerMessages lets a server send anything, from the login on or after it. Nothing panics, and it ends.
func FuzzServerMessages(f *testing.F) {
	row := &pgproto3.DataRow{Values: [][]byte{[]byte("1")}}
	for _, seed := range [][]byte{
		answerAll(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("x")}}}, row),
		answerAll(&pgproto3.CopyOutResponse{}, &pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyDone{}),
		answerAll(&pgproto3.DataRow{}),
		wire(&pgproto3.ErrorResponse{Code: "57014"}, idle, &pgproto3.ErrorResponse{Code: "25P01"}, idle),
		wire(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P05"}),
		wire(&pgproto3.NoticeResponse{Message: "x"}, &pgproto3.NotificationResponse{}, &pgproto3.ParameterStatus{Name: "x"}, &pgproto3.CopyInResponse{}),
		wire(idle, idle, idle, idle, idle),
		[]byte("D\x00\x00\x00\x0a\x00\x01\x7f\xff\xff\xff"),
		[]byte("T\x00\x00\x00\x06\xff\xff"),
	} {
		f.Add(true, seed)
	}
	f.Add(false, opened)
	f.Add(false, wire(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}, &pgproto3.AuthenticationSASLContinue{Data: []byte("r=x,s=x,i=1")}))
	f.Add(false, wire(&pgproto3.AuthenticationMD5Password{}, &pgproto3.AuthenticationGSS{}, &pgproto3.NegotiateProtocolVersion{}))
	f.Fuzz(func(t *testing.T, isIn bool, sent []byte) {
		if isIn {
			sent = append(slices.Clone(opened), sent...)
		}
		read, err := converse(t, sent)
		var protocol *protocolError
		if errors.As(err, &protocol) && Retryable(err) {
			t.Errorf("%v is retried", err)
		}
		if read > len(sent) {
			t.Errorf("of %d bytes, %d of rows were read", len(sent), read)
		}
	})
}
