package connect

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"evolution-openai-patch/test/pgtest"
)

// Servers that lie: each does something that no PostgreSQL does. Those of plain text are tried with sslmode=disable.
func lies() map[string]lie {
	nonce := func(c net.Conn) string { // of the client, who wants to log in with SCRAM
		startup(c)
		send(c, &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})
		_, nonce, _ := strings.Cut(receive(c), "r=")
		return nonce
	}
	scram := func(first string) func(net.Conn) {
		return func(c net.Conn) {
			send(c, &pgproto3.AuthenticationSASLContinue{Data: []byte(strings.ReplaceAll(first, "NONCE", nonce(c)))})
		}
	}
	megabyte := strings.Repeat("x", 900_000)
	row := &pgproto3.DataRow{Values: [][]byte{[]byte("[]")}}
	return map[string]lie{
		"silent after the request for TLS":  {"", receiveOnly},
		"silent after S":                    {"", func(c net.Conn) { receive(c); write(c, "S") }},
		"no TLS":                            {"sslmode=require", func(c net.Conn) { receive(c); write(c, "N") }},
		"error instead of S":                {"", func(c net.Conn) { receive(c); send(c, &pgproto3.ErrorResponse{Message: megabyte}) }},
		"plain text in the handshake":       {"", func(c net.Conn) { receive(c); write(c, "S"); receive(c); send(c, &pgproto3.AuthenticationOk{}) }},
		"S again and again":                 {"sslmode=require", func(c net.Conn) { receive(c); repeat(c, []byte("S")) }},
		"silent after the startup":          {plain, startup},
		"silent after AuthenticationOk":     {plain, func(c net.Conn) { startup(c); send(c, &pgproto3.AuthenticationOk{}) }},
		"length 0":                          {plain, func(c net.Conn) { startup(c); write(c, "R\x00\x00\x00\x00") }},
		"length 3":                          {plain, func(c net.Conn) { startup(c); write(c, "S\x00\x00\x00\x03") }},
		"length 2147483647":                 {plain, func(c net.Conn) { startup(c); write(c, "S\x7f\xff\xff\xff"); repeat(c, make([]byte, 64<<10)) }},
		"length -1":                         {plain, func(c net.Conn) { startup(c); write(c, "S\xff\xff\xff\xff") }},
		"unknown message":                   {plain, func(c net.Conn) { startup(c); write(c, "?\x00\x00\x00\x04") }},
		"authentication of 3 bytes":         {plain, func(c net.Conn) { startup(c); write(c, "R\x00\x00\x00\x07\x00\x00\x00") }},
		"authentication of an unknown kind": {plain, func(c net.Conn) { startup(c); write(c, "R\x00\x00\x00\x08\x00\x00\x00\x63") }},
		"authentication by GSS":             {plain, func(c net.Conn) { startup(c); send(c, &pgproto3.AuthenticationGSS{}) }},
		"authentication by SSPI":            {plain, func(c net.Conn) { startup(c); write(c, "R\x00\x00\x00\x08\x00\x00\x00\x09") }},
		"passwords without end":             {plain, func(c net.Conn) { startup(c); repeat(c, encode(&pgproto3.AuthenticationCleartextPassword{})) }},
		"no mechanism of SASL":              {plain, func(c net.Conn) { startup(c); send(c, &pgproto3.AuthenticationSASL{}) }},
		"an unknown mechanism of SASL": {plain, func(c net.Conn) {
			startup(c)
			send(c, &pgproto3.AuthenticationSASL{AuthMechanisms: []string{megabyte}})
		}},
		"SCRAM: 10,000,000 rounds":  {plain, scram("r=NONCEx,s=c2FsdA==,i=10000000")},
		"SCRAM: -1 rounds":          {plain, scram("r=NONCEx,s=c2FsdA==,i=-1")},
		"SCRAM: no rounds":          {plain, scram("r=NONCEx,s=c2FsdA==")},
		"SCRAM: another nonce":      {plain, scram("r=another,s=c2FsdA==,i=1")},
		"SCRAM: the client's nonce": {plain, scram("r=NONCE,s=c2FsdA==,i=1")},
		"SCRAM: no salt":            {plain, scram("r=NONCEx,s=!,i=1")},
		"SCRAM: wrong signature": {plain, func(c net.Conn) {
			scram("r=NONCEx,s=c2FsdA==,i=1")(c)
			receive(c)
			send(c, &pgproto3.AuthenticationSASLFinal{Data: []byte("v=c2lnbmF0dXJl")})
		}},
		"parameters without end":     {plain, func(c net.Conn) { startup(c); send(c, &pgproto3.AuthenticationOk{}); manyParameters(c) }},
		"notices without end, login": {plain, func(c net.Conn) { startup(c); repeat(c, encode(&pgproto3.NoticeResponse{Message: "x"})) }},
		"error of 900 kB, login": {plain, func(c net.Conn) {
			startup(c)
			send(c, &pgproto3.ErrorResponse{Severity: "FATAL", Code: "28000", Message: megabyte})
		}},
		"error without fields, login": {plain, func(c net.Conn) { startup(c); send(c, &pgproto3.ErrorResponse{}) }},
		"key of 200 bytes": {plain, func(c net.Conn) {
			startup(c)
			send(c, &pgproto3.AuthenticationOk{}, &pgproto3.BackendKeyData{SecretKey: make([]byte, 200)}, ready)
		}},
		"version of 60 kB": {plain, func(c net.Conn) {
			startup(c)
			send(c, &pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: megabyte[:60_000]}, ready)
		}},
		"another version of the protocol": {plain, func(c net.Conn) {
			startup(c)
			send(c, &pgproto3.NegotiateProtocolVersion{UnrecognizedOptions: []string{"user"}})
		}},
		"ready before AuthenticationOk": {plain, func(c net.Conn) { startup(c); send(c, ready) }},
		"silent after the login":        {plain, login},
		"ready without an answer":       {plain, answer(ready, ready)},
		"ready in an odd state":         {plain, answer(&pgproto3.ReadyForQuery{TxStatus: '?'}, &pgproto3.ReadyForQuery{TxStatus: '?'})},
		"notices without end":           {plain, answerWithoutEnd(&pgproto3.NoticeResponse{Message: "x"})},
		"notifications without end":     {plain, answerWithoutEnd(&pgproto3.NotificationResponse{Channel: "x"})},
		"parameters without end, later": {plain, func(c net.Conn) { login(c); receive(c); manyParameters(c) }},
		"answers without end":           {plain, answerWithoutEnd(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})},
		"rows without end":              {plain, answerWithoutEnd(row)},
		"errors without end":            {plain, answerWithoutEnd(&pgproto3.ErrorResponse{Code: "XX000", Message: megabyte[:1000]})},
		"copied rows without end": {plain, func(c net.Conn) {
			answer(&pgproto3.CopyOutResponse{})(c)
			repeat(c, encode(&pgproto3.CopyData{Data: []byte("x\n")}))
		}},
		"request for copied rows":            {plain, answer(&pgproto3.CopyInResponse{})},
		"copying both ways":                  {plain, answer(&pgproto3.CopyBothResponse{})},
		"answer to a prepared statement":     {plain, answer(&pgproto3.ParseComplete{})},
		"authentication, later":              {plain, answer(&pgproto3.AuthenticationCleartextPassword{})},
		"row without columns":                {plain, answerEach(&pgproto3.DataRow{})},
		"row with a value of negative size":  {plain, func(c net.Conn) { login(c); receive(c); write(c, "D\x00\x00\x00\x0a\x00\x01\xff\xff\xff\xfe") }},
		"row with a value of 2147483647":     {plain, func(c net.Conn) { login(c); receive(c); write(c, "D\x00\x00\x00\x0a\x00\x01\x7f\xff\xff\xff") }},
		"row of 65535 columns":               {plain, answerEach(&pgproto3.DataRow{Values: make([][]byte, 65535)})},
		"description of 65535 columns":       {plain, answer(&pgproto3.RowDescription{Fields: make([]pgproto3.FieldDescription, 65535)})},
		"description of 65535, but no field": {plain, func(c net.Conn) { login(c); receive(c); write(c, "T\x00\x00\x00\x06\xff\xff") }},
		"error without fields":               {plain, answer(&pgproto3.ErrorResponse{}, ready)},
		"error of 900 kB":                    {plain, answer(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "XX000", Message: megabyte}, ready, ready)},
		"row of 2 MB":                        {plain, answer(&pgproto3.DataRow{Values: [][]byte{[]byte(megabyte + megabyte)}})},
		"rows of nothing for everything":     {plain, answerEach(slices.Repeat([]pgproto3.BackendMessage{&pgproto3.DataRow{Values: [][]byte{[]byte("{}")}}}, 2000)...)},
		"row of 900 kB that is no JSON":      {plain, answerEach(&pgproto3.DataRow{Values: [][]byte{[]byte(megabyte)}})},
	}
}

// memoryLimit is how much memory a run may use whatever a server sends, in kB.
const memoryLimit = 24 << 10

// Whatever a server sends, the program says so and ends, within its limits.
func TestLyingServers(t *testing.T) {
	t.Parallel()
	for name, l := range lies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some of it is waiting
			uri := func(address string) string {
				return strings.Replace(pgtest.URI("u", address, "d", ""), plain, l.parameters, 1)
			}
			limits := []string{"PATCH_CONNECT_TIMEOUT=1s", "PATCH_LOG_LEVEL=debug"}

			// The other target keeps the program until its memory has been read, or both have waited for long enough.
			release := make(chan struct{})
			holds := pgtest.Listen(t, func(c net.Conn) { <-release; pgtest.AnswerError("SFATAL\x00C28000\x00Mno\x00\x00")(c) })
			uris := uri(l.listen(t, nil)) + " " + pgtest.URI("u", holds, "d", "")
			p := pgtest.Start(t, append(limits, "DATABASE_CONNECTION_URI="+uris, "PATCH_WAIT_TIMEOUT=3s")...)
			peak := highWater(p, func() { close(release) })
			o := p.Wait()
			if o.ExpectCode(t, 1, 4); peak == 0 || peak > memoryLimit {
				t.Errorf("the program used %d kB, the limit is %d", peak, memoryLimit)
			}
			expectReadable(t, o)

			began := make(chan struct{}, 1)
			p = pgtest.Start(t, append(limits, "DATABASE_CONNECTION_URI="+uri(l.listen(t, began)), "PATCH_WAIT_TIMEOUT=0")...)
			<-began
			_ = p.Cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			o = p.Wait()
			o.ExpectCode(t, 1, 143)
			expectReadable(t, o)
		})
	}
}

var highWaterMark = regexp.MustCompile(`VmHWM:\s+(\d+)`)

// highWater returns the largest memory that a program has used until it ended, in kB. It calls release when the program has reported
// something and its memory has been read after that.
func highWater(p *pgtest.Process, release func()) (peak int) {
	for reported := false; ; {
		before := p.Stdout.String() != ""
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
		if m := highWaterMark.FindSubmatch(status); m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			peak = max(peak, n)
		}
		if before && !reported {
			reported = true
			release()
		}
		select {
		case <-p.Done:
			return peak
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// expectReadable checks that nothing panicked, and that no line is longer than 8 KiB.
func expectReadable(t *testing.T, o pgtest.Outcome) {
	t.Helper()
	o.ExpectNot(t, "goroutine ", "panic: ")
	for line := range strings.Lines(o.Stdout + o.Stderr) {
		if len(line) > 8<<10 {
			t.Errorf("a line of %d bytes: %.300s", len(line), line)
		}
	}
}

// lie is a server, and the parameters of the connection string that leads to it.
type lie struct {
	parameters string
	serve      func(net.Conn)
}

const plain = "sslmode=disable"

// listen starts the server. It sends to began when it has a client.
func (l lie) listen(t *testing.T, began chan struct{}) (address string) {
	return pgtest.Listen(t, func(c net.Conn) {
		defer c.Close()
		select {
		case began <- struct{}{}:
		default:
		}
		l.serve(c)
		receiveOnly(c)
	})
}

var ready = &pgproto3.ReadyForQuery{TxStatus: 'I'}

func encode(messages ...pgproto3.BackendMessage) (all []byte) {
	for _, m := range messages {
		all, _ = m.Encode(all) // what cannot be encoded is sent in part
	}
	return all
}

func send(c net.Conn, messages ...pgproto3.BackendMessage) { _, _ = c.Write(encode(messages...)) }

func write(c net.Conn, bytes string) { _, _ = c.Write([]byte(bytes)) }

// receive returns what the client sends next.
func receive(c net.Conn) string {
	bytes := make([]byte, 64<<10)
	n, _ := c.Read(bytes)
	return string(bytes[:n])
}

// startup receives the client's first message.
func startup(c net.Conn) { receive(c) }

// receiveOnly receives until the client ends the connection.
func receiveOnly(c net.Conn) {
	for receive(c) != "" {
	}
}

// login lets the client in, whoever it is.
func login(c net.Conn) {
	startup(c)
	send(c, &pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "15.4"},
		&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: binary.BigEndian.AppendUint32(nil, 1)}, ready)
}

// answer returns a server that answers the first statements with messages.
func answer(messages ...pgproto3.BackendMessage) func(net.Conn) {
	return func(c net.Conn) { login(c); receive(c); send(c, messages...) }
}

// answerEach returns a server that answers each statement with some messages.
func answerEach(messages ...pgproto3.BackendMessage) func(net.Conn) {
	return func(c net.Conn) {
		login(c)
		for client := pgproto3.NewBackend(c, nil); ; {
			message, err := client.Receive()
			query, ok := message.(*pgproto3.Query)
			if err != nil || !ok {
				return
			}
			for range strings.Count(query.String, ";\n") + 1 {
				send(c, append(messages, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})...)
			}
			send(c, &pgproto3.ReadyForQuery{TxStatus: 'T'})
		}
	}
}

// answerWithoutEnd returns a server that answers the first statements with one message again and again.
func answerWithoutEnd(message pgproto3.BackendMessage) func(net.Conn) {
	return func(c net.Conn) { login(c); receive(c); repeat(c, encode(message)) }
}

// repeat sends bytes until the client ends the connection.
func repeat(c net.Conn, bytes []byte) {
	many := []byte(strings.Repeat(string(bytes), max(1, 64<<10/len(bytes))))
	for {
		if _, err := c.Write(many); err != nil {
			return
		}
	}
}

// manyParameters sends parameters until the client ends the connection.
func manyParameters(c net.Conn) {
	for n := 0; ; {
		var many []byte
		for range 1000 {
			n++
			many = append(many, encode(&pgproto3.ParameterStatus{Name: strconv.Itoa(n), Value: "x"})...)
		}
		if _, err := c.Write(many); err != nil {
			return
		}
	}
}
