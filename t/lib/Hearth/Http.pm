# SPDX-License-Identifier: BSD-3-Clause
# A client of HTTP that hides nothing, and a reader of Prometheus's text format that lets no mistake pass.
package Hearth::Http;
use strict;
use warnings;
use Exporter 'import';
use IO::Select;
use IO::Socket::IP;
use Time::HiRes qw(time);

our @EXPORT_OK = qw(connect_to request get metrics read_metrics);

my $patience = 60;

sub connect_to
{
	my ($port, $host) = @_;
	return IO::Socket::IP->new(PeerHost => $host // '127.0.0.1', PeerPort => $port);
}

# Sends these bytes and reads to the end of the connection: { code, headers => { name in small letters => value }, body },
# undef when nobody listens, code 0 when the connection ended without an answer.
sub request
{
	my ($port, $bytes, %arg) = @_;
	my $socket = connect_to($port, $arg{host}) or return undef;
	my ($text, $end) = ('', time + $patience);
	syswrite $socket, $bytes;
	while (time < $end) {
		IO::Select->new($socket)->can_read($end - time) or last;
		sysread($socket, $text, 65536, length $text) or last;
	}
	my ($head, $body) = split /\r\n\r\n/, $text, 2;
	return { code => 0, headers => {}, body => '' } unless defined $head;
	my ($first, @lines) = split /\r\n/, $head;
	my %headers = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () } @lines;
	return { code => ($first =~ m{^HTTP/1\.[01] (\d+) })[0] // 0, headers => \%headers, body => $body // '' };
}

# get(PORT, PATH, method => ..., name => of the Host header, host => address to connect to).
sub get
{
	my ($port, $path, %arg) = @_;
	my $name = $arg{name} // 'localhost';
	return request($port, sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", $arg{method} // 'GET', $path, $name), %arg);
}

# Of the text of /metrics: { 'name{labels}' => value }, { name => { type, help } }, and what the format does not allow.
sub read_metrics
{
	my ($text) = @_;
	my (%value, %about, @wrong, $now, %done);
	push @wrong, 'the last line is not ended' unless $text =~ /\n\z/;
	for my $line (split /\n/, $text) {
		if ($line =~ /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)$/) {
			my ($what, $name, $rest) = (lc $1, $2, $3);
			push @wrong, "$line: said before" if $about{$name}{$what} || $done{$name};
			push @wrong, "$line: no such type" if $what eq 'type' && $rest !~ /^(?:counter|gauge|histogram)$/;
			$about{$name}{$what} = $rest;
			$done{$now} = 1 if defined $now && $now ne $name;
			$now = $name;
			next;
		}
		if ($line !~ /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\]|\\[\\"n])*",?)+\})? (-?[0-9.]+(?:e[-+]?\d+)?|\+Inf)$/) {
			push @wrong, "$line: no sample";
			next;
		}
		my ($name, $labels, $v) = ($1, $2 // '', $3);
		my $type = $about{$now // ''}{type} // '';
		my $family = $type eq 'histogram' ? $name =~ s/_(?:bucket|sum|count)$//r : $name;
		push @wrong, "$line: not under its own head" unless $family eq ($now // '');
		push @wrong, "$line: given twice" if exists $value{"$name$labels"};
		push @wrong, "$line: a counter below 0" if $type eq 'counter' && $v < 0;
		$value{"$name$labels"} = $v;
	}
	push @wrong, map { "$_: needs a type and help" } grep { !$about{$_}{type} || !$about{$_}{help} } sort keys %about;
	return (\%value, \%about, @wrong);
}

# The figures of a running daemon.
sub metrics { my ($port) = @_; return (read_metrics(get($port, '/metrics')->{body}))[0]; }

1;
