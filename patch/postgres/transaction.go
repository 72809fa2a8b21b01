package postgres

import (
	"strconv"
	"time"
)

// Limits bound what a transaction may cost others.
type Limits struct {
	Idle      time.Duration // how long the server waits for the client before it ends the transaction
	Lock      time.Duration // how long one statement waits for a lock
	Statement time.Duration // how long one statement takes; 0: without end
}

// Begin returns a batch that opens a transaction of these characteristics (such as "READ ONLY"). It sets what others may
// have set for the role or the database: the role is the one that logged in, because code of another role could return to
// that one; names mean what they say; nothing is quoted, hidden, placed or timed out unexpectedly; and the transaction
// does not outlive a connection that stalls.
func (c *Conn) Begin(characteristics string, limits Limits) *Batch {
	b := &Batch{}
	b.Exec("BEGIN " + characteristics)
	b.Exec("SET LOCAL ROLE NONE")
	if c.MajorVersion() >= 17 {
		b.Exec("SET LOCAL transaction_timeout = 0") // others end a transaction that stalls, and statements in time
	}
	if c.Encoding() != "UTF8" { // which the connection has already
		b.Exec("SET LOCAL client_encoding = " + Literal(c.Encoding()))
	}
	b.Exec("SET LOCAL search_path = pg_catalog, pg_temp")
	statement := "0"
	if limits.Statement > 0 {
		statement = milliseconds(limits.Statement)
	}
	for _, setting := range [][2]string{
		{"idle_in_transaction_session_timeout", milliseconds(limits.Idle)},
		{"tcp_user_timeout", milliseconds(limits.Idle)}, // while the server has something to send, nothing else ends a stall
		{"lock_timeout", milliseconds(limits.Lock)},
		{"statement_timeout", statement},
		{"row_security", "off"}, // a policy that would hide rows is an error instead
		{"quote_all_identifiers", "off"},
		{"standard_conforming_strings", "on"},
		{"client_min_messages", "error"},
		{"exit_on_error", "off"},
		{"default_tablespace", ""}, // which another may have set to one that only this role may use
	} {
		b.Exec("SET LOCAL " + setting[0] + " = " + Literal(setting[1]))
	}
	return b
}

// milliseconds is a duration as PostgreSQL takes it, at least 1, because 0 means no limit.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}
