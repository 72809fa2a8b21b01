package postgres

import (
	"bufio"
	"encoding/binary"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

var (
	errNotPostgreSQL = &protocolError{"whatever listens there does not speak PostgreSQL's protocol", nil}
	errNoTLS         = &protocolError{"the server offers no TLS: remove sslmode=require, or whatever else asks for TLS, from the connection string, or turn on ssl there", nil}
)

// The types of the messages with which a server may answer, besides an error (PostgreSQL documentation, Message Formats, and fe-connect.c).
const (
	answersToTLS     = "SN"
	answersToStartup = "Rv"
)

// What the first message may have, in bytes; fe-connect.c has the same limits.
const (
	minFirst      = 8
	maxFirst      = 2000
	maxFirstError = 30_000
)

// greet reads ahead, and returns an error unless the server answers as a PostgreSQL server does. It is called until that is certain.
// What is encrypted cannot be looked at.
func (s *session) greet() error {
	first, err := s.buffer.Peek(1)
	if err != nil {
		return err
	}
	s.answered.Store(true)
	switch answer := first[0]; {
	case answer == 'E':
		return s.readError()
	case !strings.Contains(s.answers, string(rune(answer))):
		return errNotPostgreSQL
	case answer == 'N' && s.requiresTLS:
		return errNoTLS
	case answer == 'N':
		s.answers = answersToStartup
		return nil
	case s.answers == answersToStartup:
		if err := s.checkLength(maxFirst); err != nil {
			return err
		}
	}
	s.answers = ""
	return nil
}

// checkLength returns an error unless the next message has a type, and a length that it may have.
func (s *session) checkLength(most uint32) error {
	header, err := s.buffer.Peek(5)
	if err != nil {
		return err
	}
	if length := binary.BigEndian.Uint32(header[1:]); length < minFirst || length > most {
		return errNotPostgreSQL
	}
	return nil
}

// readError returns the error that a server answers with. One that cannot start a process for the session sends plain text in place
// of a message, whatever it was asked.
func (s *session) readError() error {
	err := s.checkLength(maxFirstError)
	switch {
	case err == nil:
		front := pgproto3.NewFrontend(s.buffer, nil)
		if message, err := front.Receive(); err == nil {
			return pgconn.ErrorResponseToPgError(message.(*pgproto3.ErrorResponse))
		}
		return errNotPostgreSQL
	case err != errNotPostgreSQL:
		return err
	}
	text, err := s.buffer.ReadSlice(0) // at most 4 KiB
	if err != nil || len(text) < 3 {
		return errNotPostgreSQL
	}
	return &NotReadyError{Reason: "the server cannot take a connection now: " + OneLine(string(text[1:len(text)-1]))}
}

// newSession returns the session of a connection, for which TLS is asked, or even required.
func newSession(conn net.Conn, asksTLS, requiresTLS bool) *session {
	s := &session{Conn: conn, buffer: bufio.NewReader(conn), answers: answersToStartup, requiresTLS: requiresTLS, ended: make(chan struct{})}
	if asksTLS {
		s.answers = answersToTLS
	}
	return s
}
