package postgres

import (
	"bytes"
	"strings"
)

// Batch is a sequence of statements that [Conn.Send] sends as one Query message. The server executes none of them before
// it has the whole message, and is idle once it has executed the last one. A connection that stalls therefore never
// leaves the server in the middle of a batch, waiting for the rest without any timeout. At the first error the server
// skips the statements that are left.
//
// The statements of [Conn.Begin] go in a Query message of their own before that, at the same time.
type Batch struct {
	statements []string
	rows       []func(row []byte) error // what reads the rows of each statement; nil discards them
	begin      int                      // how many statements are those of Begin
}

// Value is what a query of a Batch returned: empty before the batch is sent, and for a query without a row.
type Value struct{ bytes []byte }

// Bytes returns the first column of the last row.
func (v *Value) Bytes() []byte { return v.bytes }

// Exec adds a statement whose result is discarded.
func (b *Batch) Exec(sql string) { b.Rows(sql, nil) }

// Read adds a query and returns where the first column of its one row will be.
func (b *Batch) Read(sql string) *Value {
	value := new(Value)
	b.Rows(sql, func(row []byte) error {
		value.bytes = bytes.Clone(row)
		return nil
	})
	return value
}

// Rows adds a query or a COPY … TO STDOUT. The first column of each row of the query, or each row of the COPY as it is sent, is
// passed to row, which must not keep it.
func (b *Batch) Rows(sql string, row func([]byte) error) {
	b.statements = append(b.statements, sql)
	b.rows = append(b.rows, row)
}

// Require adds a statement that fails unless an SQL condition is true. No other statement that is sent divides.
func (b *Batch) Require(condition string) {
	b.Exec("SELECT 1 / CASE WHEN " + condition + " THEN 1 ELSE 0 END")
}

// RequirementFailed reports whether the error is that of a statement of Require.
func RequirementFailed(err error) bool { return SQLState(err) == divisionByZero }

// messages returns the texts of the Query messages, and how many statements have been executed after each.
func (b *Batch) messages() (texts []string, ends []int) {
	if b.begin > 0 {
		texts, ends = append(texts, strings.Join(b.statements[:b.begin], ";\n")), append(ends, b.begin)
	}
	return append(texts, strings.Join(b.statements[b.begin:], ";\n")), append(ends, len(b.statements))
}
