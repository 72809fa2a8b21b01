package connect

import (
	"encoding/binary"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"evolution-openai-patch/test/pgtest"
)

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
