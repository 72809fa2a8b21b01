// Package prisma reads PostgreSQL connection strings in Prisma's dialect, which is what Evolution is given.
package prisma

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"evolution-openai-patch/patch/postgres"
)

// Parse reads a connection string as Prisma does: as a URL of the WHATWG standard in which the parameter schema names the schema
// ("" if it is missing, which Prisma takes for public), host replaces the host, and sslcert is the CA's certificate. Parameters
// that Prisma does not know are dropped (prisma-engines, quaint/src/connector/postgres/url.rs). It takes an sslmode or sslaccept
// that it does not know for its default, which may be plain text; here it is an error, and the other modes of libpq mean what
// they mean there. No error quotes any part of the string, because it holds a password, and not always where one expects it.
func Parse(uri string) (c postgres.Config, schema string, err error) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || !strings.EqualFold(scheme, "postgresql") && !strings.EqualFold(scheme, "postgres") {
		return c, "", cmp.Or(CheckReplaced(uri), errors.New("it does not begin with postgresql:// or postgres://"))
	}
	if strings.ContainsFunc(uri, func(r rune) bool { return r < ' ' || r == 0x7f }) || !utf8.ValidString(uri) {
		return c, "", errors.New("it holds a control character or is not UTF-8")
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, slash := strings.Cut(rest, "/")
	parameters := parseQuery(query)
	names := slices.Collect(maps.Keys(parameters))
	if strings.Contains(path+fragment+strings.Join(names, ""), "@") {
		return c, "", errors.New("the password ends early: in it, write / as %2F, ? as %3F and # as %23")
	}
	if err = CheckReplaced(uri); err != nil {
		return c, "", err
	}
	at := strings.LastIndexByte(authority, '@')
	user, password, _ := strings.Cut(authority[:max(at, 0)], ":")
	c.User, c.Password = decodeUserinfo(user), decodeUserinfo(password)
	if c.User == "" {
		return c, "", errors.New("it names no user")
	}
	if strings.Contains(authority[at+1:]+parameters["host"], ",") {
		return c, "", errors.New("several hosts are not supported: name one")
	}
	if c.Host, c.Port, err = splitHostPort(authority[at+1:]); err != nil {
		return c, "", err
	}
	c.Host = cmp.Or(parameters["host"], c.Host)
	if err = postgres.CheckHost(c.Host); err != nil {
		return c, "", fmt.Errorf("its host %w", err)
	}
	database, _, _ := strings.Cut(path, "/")
	if c.Database = percentEncode(database, specialInPath); !slash {
		c.Database = "postgres"
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(strings.ToLower(path), "%2e", "."), "/") {
		if segment == "." || segment == ".." {
			return c, "", errors.New("its path holds a dot segment where the database's name belongs")
		}
	}
	schema, given := parameters["schema"]
	if given && schema == "" {
		return c, "", errors.New("its schema is empty: write ?schema=public or leave it out")
	}
	return c, schema, addParameters(&c, parameters)
}

// addParameters adds to c what the parameters say of the connection.
func addParameters(c *postgres.Config, parameters map[string]string) (err error) {
	c.Options = parameters["options"]
	if binding := parameters["channel_binding"]; binding == "disable" || binding == "require" {
		c.ChannelBinding = binding
	}
	if mode, given := parameters["sslmode"]; given {
		if c.SSLMode, err = postgres.ParseSSLMode(mode); err != nil {
			return fmt.Errorf("its sslmode %w", err)
		}
	}
	if accept, given := parameters["sslaccept"]; given {
		c.VerifyServer = strings.EqualFold(accept, "strict")
		if !c.VerifyServer && !strings.EqualFold(accept, "accept_invalid_certs") {
			return errors.New("its sslaccept is not one of strict, accept_invalid_certs")
		}
	}
	if c.VerifyServer && (c.SSLMode == "disable" || c.SSLMode == "no-verify") {
		return errors.New("its sslaccept=strict asks for a certificate that its sslmode excludes; remove one of the two")
	}
	c.SystemRoots = parameters["sslrootcert"] == "system"
	if !c.SystemRoots && (c.VerifyServer || strings.HasPrefix(c.SSLMode, "verify")) {
		c.RootCertificates = cmp.Or(parameters["sslcert"], parameters["sslrootcert"])
	}
	c.Identity, c.KeyPassword = parameters["sslidentity"], parameters["sslpassword"]
	return nil
}

// splitHostPort splits the host and port of a URL. The host may be an IPv6 address in brackets.
func splitHostPort(authority string) (host, port string, err error) {
	host, port = authority, "5432"
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		host = authority[:colon]
		if p := authority[colon+1:]; p != "" {
			port = p
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", errors.New("its port is no number from 1 to 65535; if that is the password, write / in it as %2F, ? as %3F and # as %23")
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if a, err := netip.ParseAddr(inner); !ok || err != nil || !a.Is6() || a.Zone() != "" {
			return "", "", errors.New("its host is no IPv6 address")
		}
		return inner, port, nil
	}
	if host == "" {
		return "", "", errors.New("it names no host; for a socket write @localhost/database?host=/directory")
	}
	return host, port, nil
}

// parseQuery decodes the form encoding of the WHATWG standard. Of a repeated name the last value counts.
func parseQuery(query string) map[string]string {
	parameters := map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(strings.ReplaceAll(pair, "+", " "), "=")
		parameters[percentDecode(name)] = strings.ToValidUTF8(percentDecode(value), "\uFFFD")
	}
	return parameters
}

// percentDecode decodes percent-encoded bytes. As the WHATWG standard requires, and unlike net/url, it leaves a % that is
// not followed by two hexadecimal digits as it is.
func percentDecode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if decoded, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.Write(decoded)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// decodeUserinfo decodes a user or a password. Like Prisma, it takes one that would not be UTF-8 as it stands in the URL.
func decodeUserinfo(s string) string {
	if decoded := percentDecode(s); utf8.ValidString(decoded) {
		return decoded
	}
	return percentEncode(s, specialInPath+`/:;=@[\]^|`)
}

// specialInPath is what is encoded in the path of a URL (WHATWG URL standard, path percent-encode set), but for what ends the path.
const specialInPath = "\"<>`{}"

// percentEncode encodes spaces, what is not ASCII, and the special characters. Prisma asks for the database by its encoded name.
func percentEncode(s, special string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || strings.IndexByte(special, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
