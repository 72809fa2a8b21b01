package prisma

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nlnwa/whatwg-url/url"

	"evolution-openai-patch/patch/postgres"
)

func TestURI(t *testing.T) {
	type want struct{ user, password, target, schema string }
	for uri, w := range map[string]want{
		"postgresql://postgres:SENHA@postgres:5432/evolution":                                                {"postgres", "SENHA", "postgres:5432/evolution", ""},
		"postgresql://user:pass@postgres:5432/evolution_db?schema=evolution_api":                             {"user", "pass", "postgres:5432/evolution_db", "evolution_api"},
		"postgresql://postgres:pass@postgres_postgres:5432/evolution?schema=public&sslmode=disable":          {"postgres", "pass", "postgres_postgres:5432/evolution", "public"},
		"postgresql://postgres.ref:pass@pooler.example.com:5432/postgres?connection_limit=2&pool_timeout=30": {"postgres.ref", "pass", "pooler.example.com:5432/postgres", ""},
		"postgresql://user:pass@pgbouncer:5432/evolution_db?pgbouncer=true&schema=evolution_api":             {"user", "pass", "pgbouncer:5432/evolution_db", "evolution_api"},
		"postgresql://postgres:Abc123.@&*(@db.example.com:5432/postgres?schema=evolution_api":                {"postgres", "Abc123.@&*(", "db.example.com:5432/postgres", "evolution_api"},
		"postgresql://user:pass@localhost/evolution?host=/cloudsql/project:region:instance":                  {"user", "pass", "/cloudsql/project:region:instance:5432/evolution", ""},
		"postgres://u:p%40%2F%3a@h":                        {"u", "p@/:", "h:5432/postgres", ""},
		"POSTGRESQL://u:100%@h:6432/d":                     {"u", "100%", "h:6432/d", ""},
		"postgresql://u:a:b@h/d/more":                      {"u", "a:b", "h:5432/d", ""},
		"postgresql://u@h/":                                {"u", "", "h:5432/u", ""},
		"postgresql://u:p@[2001:db8::1]:5433/d":            {"u", "p", "[2001:db8::1]:5433/d", ""},
		"postgresql://u:p%4@h/d?schema=a%4":                {"u", "p%4", "h:5432/d", "a%4"},
		"postgresql://u%4@h/d?schema=%":                    {"u%4", "", "h:5432/d", "%"},
		"postgresql://u:p@h:/d?schema=a&schema=b+c%22":     {"u", "p", "h:5432/d", `b c"`},
		"postgresql://u:p@h/d?host=other&sslpassword=p@ss": {"u", "p", "other:5432/d", ""},
		"postgresql://u:p@h/d%20e#fragment":                {"u", "p", "h:5432/d%20e", ""},
		"postgresql://u:p@h/\u00e9":                        {"u", "p", "h:5432/%C3%A9", ""},
		"postgresql://u%E9:a%ABb;%20@h/d":                  {"u%E9", "a%ABb%3B%20", "h:5432/d", ""},
	} {
		c, schema, err := Parse(uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		target, err := postgres.NewTarget(c)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if got := (want{c.User, c.Password, target.String(), schema}); got != w {
			t.Errorf("%s:\n got %+v\nwant %+v", uri, got, w)
		}
	}
}

// Every parameter that Prisma has for the connection itself arrives where it belongs; all others are dropped.
func TestParameters(t *testing.T) {
	for query, want := range map[string]postgres.Config{
		"":                    {},
		"sslmode=prefer":      {SSLMode: "prefer"},
		"sslmode=allow":       {SSLMode: "allow"},
		"sslmode=No-Verify":   {SSLMode: "no-verify"},
		"sslmode=VERIFY-FULL": {SSLMode: "verify-full"},
		"sslmode=disable":     {SSLMode: "disable"},
		"sslmode=require":     {SSLMode: "require"},
		"sslmode=verify-ca":   {SSLMode: "verify-ca"},
		"sslmode=verify-full": {SSLMode: "verify-full"},
		"sslcert=/ca":         {},
		"sslaccept=strict":    {VerifyServer: true},
		"sslaccept=Strict":    {VerifyServer: true},
		"sslaccept=ACCEPT_INVALID_CERTS&sslmode=disable": {SSLMode: "disable"},
		"sslaccept=accept_invalid_certs&sslcert=/ca":     {},
		"sslaccept=strict&sslcert=/ca":                   {VerifyServer: true, RootCertificates: "/ca"},
		"sslaccept=strict&sslrootcert=/ca":               {VerifyServer: true, RootCertificates: "/ca"},
		"sslrootcert=/ca":                                {},
		"sslrootcert=system":                             {SystemRoots: true},
		"sslrootcert=system&sslmode=require":             {SystemRoots: true, SSLMode: "require"},
		"sslrootcert=system&sslmode=verify-full":         {SystemRoots: true, SSLMode: "verify-full"},
		"sslcert=system&sslmode=verify-full":             {RootCertificates: "system", SSLMode: "verify-full"},
		"sslmode=verify-ca&sslcert=/ca&sslrootcert=/not": {SSLMode: "verify-ca", RootCertificates: "/ca"},
		"sslidentity=/id.p12&sslpassword=p%26q":          {Identity: "/id.p12", KeyPassword: "p&q"},
		"options=-c%20x%3D1":                             {Options: "-c x=1"},
		"channel_binding=require":                        {ChannelBinding: "require"},
		"channel_binding=disable":                        {ChannelBinding: "disable"},
		"channel_binding=prefer":                         {},
		"connection_limit=2&pool_timeout=30&socket_timeout=5&statement_cache_size=0&pgbouncer=true&connect_timeout=1": {},
		"work_mem=1TB&passfile=/x&service=y&target_session_attrs=primary&client_encoding=LATIN1&application_name=z":   {},
	} {
		want.Host, want.Port, want.User, want.Password, want.Database = "h", "5432", "u", "p", "d"
		if got, _, err := Parse("postgresql://u:p@h/d?" + query); err != nil || got != want {
			t.Errorf("%s: %v\n got %+v\nwant %+v", query, err, got, want)
		}
	}
}

const notHost = "its host is neither"

// uriErrors are strings that are refused, with a part of what is said.
var uriErrors = map[string]string{
	"postgresql://u:p@h/d?sslmode=nonsense":                   "sslmode is not one of disable, ",
	"postgresql://u:p@h/d?sslmode=verify_full":                "sslmode is not one of disable, ",
	"postgresql://u:p@h/d?sslmode=":                           "sslmode is not one of disable, ",
	"postgresql://u:p@h/d?sslaccept=anything":                 "sslaccept is not one of strict, ",
	"postgresql://u:p@h/d?sslaccept=":                         "sslaccept is not one of strict, ",
	"postgresql://u:p@h/d?sslaccept=strict&sslmode=disable":   "remove one of the two",
	"postgresql://u:p@h/d?sslaccept=strict&sslmode=no-verify": "remove one of the two",
	"":                                      "does not begin with",
	"h/d":                                   "does not begin with",
	"mysql://u:p@h/d":                       "does not begin with",
	"prisma://u:p@h/d":                      "does not begin with",
	"host=h user=u":                         "does not begin with",
	"postgresql:/u:p@h/d":                   "does not begin with",
	"postgresql://h/d":                      "names no user",
	"postgresql://:p@h/d":                   "names no user",
	"postgresql://u:p@/d":                   "names no host",
	"postgresql://u:p@:5432/d":              "names no host",
	"postgresql://u:p@h:port/d":             "port",
	"postgresql://u:p@h:0/d":                "port",
	"postgresql://u:p@h:65536/d":            "port",
	"postgresql://u:p@h:+1/d":               "port",
	"postgresql://u:p@[::1/d":               "IPv6",
	"postgresql://u:p@[fe80::1%25eth0]/d":   "IPv6",
	"postgresql://u:p@h1:5432,h2:5432/d":    "several hosts",
	"postgresql://u:p@h1:5432,h2/d":         "several hosts",
	"postgresql://u:p@h1,h2:5432/d":         "several hosts",
	"postgresql://u:p@h/d?host=h1,h2":       "several hosts",
	"postgresql://u:p@h<>/d":                notHost,
	"postgresql://u:p@ho!st/d":              notHost,
	"postgresql://u:p@a..b/d":               notHost,
	"postgresql://u:p@.a/d":                 notHost,
	"postgresql://u:p@*/d":                  notHost,
	"postgresql://u:p@%2Ftmp/d":             notHost,
	"postgresql://u:p@h/d?host=ho!st":       notHost,
	"postgresql://u:p@h/d?host=%20":         notHost,
	"postgresql://u:Sup3r/Secret@h/d":       "write / as %2F",
	"postgresql://u:12/Secret@h/d":          "write / as %2F",
	"postgresql://u:12?Secret@h/d?schema=a": "write / as %2F",
	"postgresql://u:12#Secret@h/d":          "write / as %2F",
	"postgresql://u:a@12/Secret@h/d":        "write / as %2F",
	"postgresql://u:p\x00@h/d":              "control character",
	"postgresql://u:p\xff@h/d":              "not UTF-8",
	"postgresql://u:p%00@h/d":               "NUL",
	"postgresql://u:p@h/d?schema=":          "schema is empty",
	"postgresql://u:p@h/../d":               "dot segment",
	"postgresql://u:p@h/d?sslidentity=/x":   "client identity",
}

func TestURIErrors(t *testing.T) {
	for uri, says := range uriErrors {
		c, _, err := Parse(uri)
		if err == nil {
			_, err = postgres.NewTarget(c)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", uri, err, says)
			continue
		}
		if strings.Contains(err.Error(), "Secret") {
			t.Errorf("%q: a secret in %v", uri, err)
		}
	}
}

// FuzzURI holds the parser against an independent one of the same standard. Where both take a string, they must agree;
// what only we refuse must be one of the refusals that we chose.
func FuzzURI(f *testing.F) {
	for _, seed := range []string{
		"postgresql://u:p@h:5432/d?schema=s", "postgres://u:Abc123.@&*(@db.example.com:5432/postgres?schema=a&b=c", "postgresql://u:%@h/d", "postgresql://u@[::1]/d",
		"postgresql://u:p@h/d?host=/a%20b+c&schema=x%", "postgresql://u:\u00e9@h/d", "postgresql://u:p@h/a/b#c", "postgresql://u:p@h:/", "postgresql://a:b:c@h%41?x",
		"postgresql://u%E9<:s%E9:;=@h/\u00e9 \"<>^|`{}'",
	} {
		f.Add(seed)
	}
	chosen := []string{"names no user", "control character", "ends early", "dot segment", "several hosts", notHost, "schema is empty", "port is no number", "does not begin with"}
	f.Fuzz(func(t *testing.T, uri string) {
		if !utf8.ValidString(uri) || strings.TrimSpace(uri) != uri {
			return
		}
		got, schema, err := Parse(uri)
		ref, refErr := url.Parse(uri)
		if refErr != nil || ref.Protocol() != "postgresql:" && ref.Protocol() != "postgres:" {
			if err == nil {
				t.Errorf("we take %q as %+v, the standard says %v", uri, got, refErr)
			}
			return
		}
		if err != nil {
			for _, c := range chosen {
				if strings.Contains(err.Error(), c) {
					return
				}
			}
			t.Errorf("we refuse %q: %v", uri, err)
			return
		}
		want, refSchema := fromReference(ref)
		if a, err := netip.ParseAddr(strings.Trim(want.Host, "[]")); err == nil {
			want.Host = a.String()
			if b, err := netip.ParseAddr(got.Host); err == nil {
				got.Host = b.String()
			}
		}
		got.Port, want.Port = strings.TrimLeft(got.Port, "0"), strings.TrimLeft(want.Port, "0")
		if got.Database != want.Database || got.User != want.User || got.Password != want.Password || got.Host != want.Host || got.Port != want.Port || schema != refSchema {
			t.Errorf("%q:\n got %q %q %q %q %q %q\nwant %q %q %q %q %q %q", uri, got.User, got.Password, got.Host, got.Port, got.Database, schema,
				want.User, want.Password, want.Host, want.Port, want.Database, refSchema)
		}
	})
}

// fromReference reads the parts of a URL from the other parser, as Prisma does.
func fromReference(ref *url.Url) (want postgres.Config, schema string) {
	want = postgres.Config{User: percentDecode(ref.Username()), Password: percentDecode(ref.Password()), Host: ref.Hostname(), Port: ref.Port()}
	if !utf8.ValidString(want.User) {
		want.User = ref.Username()
	}
	if !utf8.ValidString(want.Password) {
		want.Password = ref.Password()
	}
	if want.Port == "" {
		want.Port = "5432"
	}
	params := ref.SearchParams()
	if values := params.GetAll("schema"); len(values) > 0 {
		schema = strings.ToValidUTF8(values[len(values)-1], "\uFFFD")
	}
	if values := params.GetAll("host"); len(values) > 0 && values[len(values)-1] != "" {
		want.Host = strings.ToValidUTF8(values[len(values)-1], "\uFFFD")
	}
	want.Database, _, _ = strings.Cut(strings.TrimPrefix(ref.Pathname(), "/"), "/")
	if ref.Pathname() == "" {
		want.Database = "postgres"
	}
	return want, schema
}
