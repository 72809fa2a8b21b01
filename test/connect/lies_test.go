package connect

import (
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

var megabyte = strings.Repeat("x", 900_000)

// loginLies are servers that lie before the login is complete. Those of plain text are tried with sslmode=disable.
func loginLies() map[string]lie {
	return map[string]lie{
		"silent after the request for TLS": {"", receiveOnly},
		"silent after S":                   {"", func(c net.Conn) { receive(c); write(c, "S") }},
		"no TLS":                           {"sslmode=require", func(c net.Conn) { receive(c); write(c, "N") }},
		"error instead of S":               {"", func(c net.Conn) { receive(c); send(c, &pgproto3.ErrorResponse{Message: megabyte}) }},
		"plain text in the handshake":      {"", func(c net.Conn) { receive(c); write(c, "S"); receive(c); send(c, &pgproto3.AuthenticationOk{}) }},
		"S again and again":                {"sslmode=require", func(c net.Conn) { receive(c); repeat(c, []byte("S")) }},
		"silent after the startup":         {plain, startup},
		"silent after AuthenticationOk":    {plain, func(c net.Conn) { startup(c); send(c, &pgproto3.AuthenticationOk{}) }},
		"length 0":                         {plain, func(c net.Conn) { startup(c); write(c, "R\x00\x00\x00\x00") }},
		"length 3":                         {plain, func(c net.Conn) { startup(c); write(c, "S\x00\x00\x00\x03") }},
		"length 2147483647":                {plain, func(c net.Conn) { startup(c); write(c, "S\x7f\xff\xff\xff"); repeat(c, make([]byte, 64<<10)) }},
		"length -1":                        {plain, func(c net.Conn) { startup(c); write(c, "S\xff\xff\xff\xff") }},
		"unknown message":                  {plain, func(c net.Conn) { startup(c); write(c, "?\x00\x00\x00\x04") }},
		"parameters without end":           {plain, func(c net.Conn) { startup(c); send(c, &pgproto3.AuthenticationOk{}); manyParameters(c) }},
		"notices without end, login":       {plain, func(c net.Conn) { startup(c); repeat(c, encode(&pgproto3.NoticeResponse{Message: "x"})) }},
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
	}
}

// authenticationLies are servers that lie about who may log in how.
func authenticationLies() map[string]lie {
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
	return map[string]lie{
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
	}
}

// answerLies are servers that lie when they are to answer statements.
func answerLies() map[string]lie {
	row := &pgproto3.DataRow{Values: [][]byte{[]byte("[]")}}
	return map[string]lie{
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
		"row that is empty":                  {plain, answerEach(&pgproto3.DataRow{})},
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
