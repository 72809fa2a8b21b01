package prisma

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nlnwa/whatwg-url/url"

	"evolution-openai-patch/patch/postgres"
)

const refuses = "refuses"

// A form is a connection string of testdata/forms.txt, which says how it is read.
type form struct {
	uri, prisma string
	reading     map[string]string // ours and libpq's, where they are other than Prisma's, each with the reason
}

func readForms(t *testing.T) (forms []form) {
	t.Helper()
	text, err := os.ReadFile("testdata/forms.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		said, indented := strings.CutPrefix(line, "\t")
		last := len(forms) - 1
		switch {
		case line == "" || strings.HasPrefix(line, "# "):
		case !indented:
			forms = append(forms, form{uri: line, reading: map[string]string{}})
		case forms[last].prisma == "":
			forms[last].prisma = said
		default:
			reader, reading, _ := strings.Cut(said, ": ")
			forms[last].reading[reader] = reading
		}
	}
	return forms
}

// TestForms holds three readers against what Prisma makes of connection strings as people write them: a model of Prisma's reader
// over an independent URL parser, this package, and pgconn, which stands for libpq. Where one differs, the reason is given.
func TestForms(t *testing.T) {
	t.Setenv("PGPASSFILE", "/no/such/file")
	forms := readForms(t)
	if len(forms) < 120 {
		t.Fatalf("only %d forms", len(forms))
	}
	for _, f := range forms {
		if got := readAsPrisma(f.uri); got != f.prisma {
			t.Errorf("%s: as Prisma %s, want %s", f.uri, got, f.prisma)
		}
		for reader, got := range map[string]string{"ours": read(f.uri), "libpq": readAsLibpq(f.uri)} {
			word := "same"
			switch {
			case got == refuses && f.prisma != refuses:
				word = refuses
			case !strings.HasPrefix(f.prisma, got):
				word = "differs"
			}
			documented, reason, _ := strings.Cut(cmp.Or(f.reading[reader], "same"), ": ")
			if word != documented || (word == "same") != (reason == "") {
				t.Errorf("%s: %s %s (%s), want %q", f.uri, reader, word, got, f.reading[reader])
			}
		}
	}
}

// summary is what a connection string leads to, in the order user, password, host, port, database. The server takes the user's name
// for an empty database.
func summary(c postgres.Config, rest ...string) string {
	if a, err := netip.ParseAddr(strings.Trim(c.Host, "[]")); err == nil {
		c.Host = a.String()
	}
	if port, err := strconv.Atoi(c.Port); err == nil {
		c.Port = strconv.Itoa(port)
	}
	var b strings.Builder
	for _, s := range append([]string{c.User, c.Password, c.Host, c.Port, cmp.Or(c.Database, c.User)}, rest...) {
		if s == "" || strings.ContainsAny(s, ` "`) || !strings.HasPrefix(strconv.Quote(s), `"`+s) {
			s = strconv.Quote(s)
		}
		fmt.Fprint(&b, s, " ")
	}
	return b.String()
}

// read returns the reading of this package, and how it asks for TLS.
func read(uri string) string {
	c, schema, err := Parse(uri)
	if err == nil {
		_, err = postgres.NewTarget(c)
	}
	if err != nil {
		return refuses
	}
	tls := cmp.Or(c.SSLMode, "prefer")
	switch {
	case c.VerifyServer:
		tls += ",strict"
	case c.SystemRoots:
		tls = "verify-full"
	}
	return strings.TrimSpace(summary(c, cmp.Or(schema, "public"), tls))
}

// readAsPrisma models Prisma's reader (prisma-engines, quaint/src/connector/postgres/url.rs; the scheme is checked before, in
// psl/psl-core/src/builtin_connectors/postgres_datamodel_connector.rs).
func readAsPrisma(uri string) string {
	ref, err := url.Parse(uri)
	if err != nil || !strings.HasPrefix(uri, "postgresql://") && !strings.HasPrefix(uri, "postgres://") {
		return refuses
	}
	parameters := map[string]string{}
	ref.SearchParams().Iterate(func(p *url.NameValuePair) { parameters[p.Name] = strings.ToValidUTF8(p.Value, "\uFFFD") })
	for _, name := range []string{
		"connection_limit", "connect_timeout", "max_connection_lifetime", "max_idle_connection_lifetime", "pool_timeout", "socket_timeout", "statement_cache_size",
	} {
		if value, given := parameters[name]; given {
			if _, err := strconv.ParseUint(value, 10, 64); err != nil {
				return refuses
			}
		}
	}
	if value, given := parameters["pgbouncer"]; given && value != "true" && value != "false" {
		return refuses
	}
	c, schema := fromReference(ref)
	if host, given := parameters["host"]; given {
		c.Host = host
	}
	if _, given := parameters["schema"]; !given {
		schema = "public"
	}
	tls := "prefer"
	if mode := parameters["sslmode"]; mode == "disable" || mode == "require" {
		tls = mode
	}
	if accept, given := parameters["sslaccept"]; given && accept != "accept_invalid_certs" {
		tls += ",strict"
	}
	return strings.TrimSpace(summary(c, schema, tls))
}

// prismasOwn matches the parameters that only Prisma has; libpq refuses a string for any that it does not know.
var prismasOwn = regexp.MustCompile(`(schema|connection_limit|\w+_lifetime|pool_timeout|socket_timeout|statement_cache_size|pgbouncer|sslaccept)(=[^&#]*)?(&|$)`)

// readAsLibpq returns the reading of pgconn, without the schema and TLS. It gives the server what libpq refuses.
func readAsLibpq(uri string) string {
	if before, query, ok := strings.Cut(uri, "?"); ok {
		uri = before + "?" + prismasOwn.ReplaceAllString(query, "")
	}
	c, err := pgconn.ParseConfig(uri)
	if err != nil {
		return refuses
	}
	for name := range maps.Keys(c.RuntimeParams) {
		if !slices.Contains([]string{"application_name", "options", "client_encoding"}, name) {
			return refuses
		}
	}
	return summary(postgres.Config{User: c.User, Password: c.Password, Host: c.Host, Port: strconv.Itoa(int(c.Port)), Database: c.Database})
}
