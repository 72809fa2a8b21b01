package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

func TestConversation(t *testing.T) {
	done := &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}
	row := &pgproto3.DataRow{Values: [][]byte{[]byte("1")}}
	in := func(bytes []byte) []byte { return append(opened[:len(opened):len(opened)], bytes...) }
	long := strings.Repeat("x", maxMessage)
	for name, c := range map[string]struct {
		bytes []byte
		read  int
		fails any // what the error is; nil for none
	}{
		"rows":                      {in(answerAll(row)), 6, nil},
		"copied rows":               {in(answerAll(&pgproto3.CopyOutResponse{}, &pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyDone{})), 12, nil},
		"NULL":                      {in(answerAll(&pgproto3.DataRow{Values: [][]byte{nil}})), 0, nil},
		"no columns":                {in(answerAll(&pgproto3.DataRow{})), 0, new(*protocolError)},
		"too many answers":          {in(answerAll(row, done)), 2, new(*protocolError)},
		"no answers":                {in(wire(idle, idle)), 0, new(*protocolError)},
		"an odd state":              {in(wire(&pgproto3.ReadyForQuery{TxStatus: 'X'})), 0, new(*protocolError)},
		"a long row":                {in(answerAll(&pgproto3.DataRow{Values: [][]byte{[]byte(long)}})), 0, new(*protocolError)},
		"a long login":              {wire(&pgproto3.AuthenticationOk{}, &pgproto3.NoticeResponse{Message: long[:maxLogin]}, idle), 0, new(*protocolError)},
		"parameters":                {in(wire(&pgproto3.ParameterStatus{Name: "a", Value: long[:maxLogin]})), 0, new(*protocolError)},
		"not to be begun":           {in(wire(&pgproto3.ErrorResponse{Code: "57014"}, idle, &pgproto3.ErrorResponse{Code: "25P01"}, idle)), 0, new(*timeoutSettingError)},
		"ended while it was idle":   {in(wire(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P05"})), 0, new(*timeoutSettingError)},
		"begun, but then a timeout": {in(wire(done, done, done, done, idle, &pgproto3.ErrorResponse{Code: "57014"}, idle)), 0, new(*pgconn.PgError)},
	} {
		t.Run(name, func(t *testing.T) {
			read, err := converse(t, c.bytes)
			if (err == nil) != (c.fails == nil) || c.fails != nil && !errors.As(err, c.fails) {
				t.Errorf("the error is %v, want %T", err, c.fails)
			}
			if read != c.read {
				t.Errorf("%d bytes of rows were read, want %d", read, c.read)
			}
		})
	}
}

// Only what answers a statement counts as a sign of life.
func TestNoticesAreNoAnswer(t *testing.T) {
	a := answers{conn: &Conn{meter: new(meter), parameters: parameters{sizes: map[string]int{}}}, batch: &Batch{}, ends: []int{1}}
	for _, c := range []struct {
		message pgproto3.BackendMessage
		want    bool
	}{
		{&pgproto3.NoticeResponse{}, false},
		{&pgproto3.ParameterStatus{}, false},
		{&pgproto3.NotificationResponse{}, false},
		{&pgproto3.DataRow{}, true},
		{&pgproto3.CopyData{}, true},
		{&pgproto3.CommandComplete{}, true},
	} {
		if got := a.read(c.message); got != c.want {
			t.Errorf("%T: %t, want %t", c.message, got, c.want)
		}
	}
}

// A driver that panics at what a server sends makes an error, whether in the login or later.
func TestPanicsAreErrors(t *testing.T) {
	notice := wire(&pgproto3.NoticeResponse{Message: "x"})
	for name, bytes := range map[string][]byte{"login": append(wire(&pgproto3.AuthenticationOk{}), notice...), "later": append(opened[:len(opened):len(opened)], notice...)} {
		target := serve(t, bytes)
		target.conn.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { panic("the driver panics") }
		c, err := target.Connect(t.Context(), time.Minute)
		if err == nil {
			b := &Batch{}
			b.Exec("SELECT 1")
			err = c.Send(t.Context(), b, time.Minute)
		}
		var protocol *protocolError
		if !errors.As(err, &protocol) || Retryable(err) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// A login that computes is left alone when its time is over, and tells when it has ended.
func TestAbandonedLogin(t *testing.T) {
	target := serve(t, opened)
	computing, end := make(chan struct{}, 10), make(chan struct{})
	dial := target.conn.DialFunc
	target.conn.DialFunc = func(ctx context.Context, network, address string) (c net.Conn, err error) {
		computing <- struct{}{}
		<-end // whatever becomes of ctx
		return dial(ctx, network, address)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { _, err := target.Connect(ctx, time.Minute); failed <- err }()
	<-computing
	cancel()
	err := <-failed
	if !Retryable(err) || Unreachable(err) {
		t.Errorf("the error is %v", err)
	}
	var abandoned *AbandonedError
	if !errors.As(err, &abandoned) {
		t.Fatalf("%v is no *AbandonedError", err)
	}
	select {
	case <-abandoned.Ended:
		t.Error("the login has ended before the computation has")
	default:
	}
	close(end)
	<-abandoned.Ended
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		s    string
		most int
		want string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"ééé", 5, "éé…"},
		{`a"b`, 4, `a"b`},
		{`a"b`, 3, `a"…`},
		{"\x00\x00", 10, "\x00…"},
		{"\xff\xff", 10, "\xff…"},
		{"<b>", 11, "<b…"},
	} {
		if got := Shorten(c.s, c.most); got != c.want {
			t.Errorf("Shorten(%q, %d) is %q, want %q", c.s, c.most, got, c.want)
		}
	}
}
