package postgres

import (
	"strconv"
	"time"

	"evolution-openai-patch/patch/quote"
)

// Limits bound what a transaction may cost others.
type Limits struct {
	Idle      time.Duration // how long the server waits for the client before it ends the transaction
	Lock      time.Duration // how long one statement waits for a lock
	Statement time.Duration // how long one statement takes; 0: without end
}

// transactionName is the savepoint that tells our transaction from none.
const transactionName = "evolution_openai_patch"

// Begin returns a batch that opens a transaction of these characteristics (such as "READ ONLY"). It sets what others may
// have set for the role or the database: the role is the one that logged in, because code of another role could return to
// that one; names mean what they say; nothing is quoted, hidden, placed or timed out unexpectedly; and the transaction
// does not outlive a connection that stalls.
//
// A timeout that others have set counts from when the server begins to read a message, so the few statements that lift it are a
// message of their own. Where that fails nevertheless, the other must do nothing: outside of the transaction its statements would
// be committed. The first of them fails there.
func (c *Conn) Begin(characteristics string, limits Limits) *Batch {
	statement := "0"
	if limits.Statement > 0 {
		statement = milliseconds(limits.Statement)
	}
	b := &Batch{}
	b.Exec("BEGIN " + characteristics)
	b.setLocal([][2]string{{"statement_timeout", statement}, {"idle_in_transaction_session_timeout", milliseconds(limits.Idle)}})
	if c.MajorVersion() >= 17 {
		b.setLocal([][2]string{{"transaction_timeout", "0"}}) // others end a transaction that stalls, and statements in time
	}
	b.Exec("SAVEPOINT " + transactionName)
	b.begin = len(b.statements)
	b.Exec("RELEASE SAVEPOINT " + transactionName)
	b.Exec("SET LOCAL ROLE NONE")
	if c.Encoding() != "UTF8" { // which the connection has already
		b.setLocal([][2]string{{"client_encoding", c.Encoding()}})
	}
	b.Exec("SET LOCAL search_path = pg_catalog, pg_temp")
	b.setLocal([][2]string{
		{"tcp_user_timeout", milliseconds(limits.Idle)}, // while the server has something to send, nothing else ends a stall
		{"lock_timeout", milliseconds(limits.Lock)},
		{"row_security", "off"}, // a policy that would hide rows is an error instead
		{"quote_all_identifiers", "off"},
		{"standard_conforming_strings", "on"},
		{"client_min_messages", "error"},
		{"exit_on_error", "off"},
		{"default_tablespace", ""}, // which another may have set to one that only this role may use
	})
	return b
}

// setLocal adds statements that change settings until the end of the transaction.
func (b *Batch) setLocal(settings [][2]string) {
	for _, s := range settings {
		b.Exec("SET LOCAL " + s[0] + " = " + quote.Literal(s[1]))
	}
}

// milliseconds is a duration as PostgreSQL takes it, at least 1, because 0 means no limit.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}
