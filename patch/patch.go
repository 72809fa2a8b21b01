// Package patch lets the instances of an Evolution API share one OpenAI API key, by removing what forbids it from the
// application's PostgreSQL database.
//
// The program is one straight line:
//
//	environment → Config → fleet → database (connect, wait) → schema (inspect → plan → apply) → Result → report
//
// What is known of Evolution stands as data in evolution.go. What the catalog says is read by inspect.sql, padding.sql and
// guard.sql into a State. All DDL is composed from the two by plan, which is pure.
package patch

// Status is the word for where a schema, or one fix in it, stands.
type Status string

// The words of the report.
const (
	Patched   Status = "patched"   // every fix requested is in place
	Pending   Status = "pending"   // no table yet
	Guarded   Status = "guarded"   // no table yet, and a guard is installed
	Unpatched Status = "unpatched" // a fix is not in place
	Failed    Status = "failed"
)

// Result is what became of one schema of one target.
type Result struct {
	Target string // host:port/database
	Schema string
	assessment
	Changed bool
	Unknown bool     // whether it changed is not known, because COMMIT was not answered
	State   State    // what was verified before the commit, or else found; the zero State if nothing could be read
	SQL     []string // what a dry run would execute
	Notice  string   // why there is nothing to do yet, "" if there is
	Err     error

	requested []Fix
}

// known reports whether the schema could be inspected.
func (r Result) known() bool { return r.State.Role != "" }
