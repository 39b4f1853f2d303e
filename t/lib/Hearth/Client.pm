# SPDX-License-Identifier: BSD-3-Clause
# A client of the classic text protocol that hides nothing: bytes in, bytes out, and a few commands on top.
package Hearth::Client;
use strict;
use warnings;
use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM IPPROTO_TCP TCP_NODELAY);

my $patience = 60;

# Hearth::Client->new(port => N) or (unix => PATH). Dies when nobody listens, but returns undef with quiet => 1.
sub new
{
	my ($class, %arg) = @_;
	my $socket = $arg{unix}
	    ? IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $arg{unix})
	    : IO::Socket::INET->new(PeerAddr => $arg{host} // '127.0.0.1', PeerPort => $arg{port}, Proto => 'tcp');
	if (!$socket) {
		return undef if $arg{quiet};
		croak 'connect ' . ($arg{unix} // $arg{port}) . ": $!";
	}
	$socket->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1) unless $arg{unix};
	return bless { socket => $socket, input => '' }, $class;
}

sub socket { my ($self) = @_; return $self->{socket}; }
sub close { my ($self) = @_; close $self->{socket}; return; }

# Sends all bytes.
sub put
{
	my ($self, $bytes) = @_;
	my $at = 0;
	while ($at < length $bytes) {
		my $n = syswrite $self->{socket}, $bytes, length($bytes) - $at, $at;
		croak "send: $!" unless defined $n;
		$at += $n;
	}
	return $self;
}

# Reads once; false at the end of the connection.
sub fill
{
	my ($self, $seconds) = @_;
	IO::Select->new($self->{socket})->can_read($seconds // $patience) or croak 'no reply, got so far: '
	    . substr($self->{input}, 0, 200);
	my $n = sysread $self->{socket}, $self->{input}, 262144, length $self->{input};
	return $n;
}

# One line without its \r\n; undef at the end of the connection.
sub line
{
	my ($self) = @_;
	my $at;
	while (($at = index $self->{input}, "\r\n") < 0) {
		$self->fill or return undef;
	}
	my $line = substr $self->{input}, 0, $at;
	substr $self->{input}, 0, $at + 2, '';
	return $line;
}

# The same of a metadump, whose lines end with \n alone, but for the last one.
sub dump_line
{
	my ($self) = @_;
	my $at;
	while (($at = index $self->{input}, "\n") < 0) {
		$self->fill or return undef;
	}
	return substr($self->{input}, 0, $at + 1, '') =~ s/\r?\n//r;
}

sub bytes
{
	my ($self, $n) = @_;
	while (length $self->{input} < $n) {
		$self->fill or croak 'the connection ended inside a value';
	}
	return substr $self->{input}, 0, $n, '';
}

# Everything up to the end of the connection.
sub rest
{
	my ($self) = @_;
	1 while $self->fill;
	return delete($self->{input}) // '';
}

# Sends and returns one line.
sub ask { my ($self, $bytes) = @_; return $self->put($bytes)->line; }

# Sends a stream, says that no more comes, and returns all that is answered.
sub stream
{
	my ($self, @pieces) = @_;
	for my $piece (@pieces) {
		eval { $self->put($piece); 1 } or last; # the daemon may hang up in between
	}
	shutdown $self->{socket}, 1;
	return $self->rest;
}

# The items of a get, gets, gat or gats: key => { value, flags, cas }.
sub items
{
	my ($self, $command) = @_;
	$self->put("$command\r\n");
	my %items;
	while (1) {
		my $line = $self->line // croak "$command: the connection ended";
		return \%items if $line eq 'END';
		my ($key, $flags, $length, $cas) = $line =~ /^VALUE (\S+) (\d+) (\d+)(?: (\d+))?$/
		    or croak "$command: unexpected '$line'";
		my $value = $self->bytes($length + 2);
		substr($value, -2) eq "\r\n" or croak "$command: no end of line behind a value";
		$items{$key} = { value => substr($value, 0, -2), flags => $flags, cas => $cas };
	}
}

# The value, or undef.
sub get { my ($self, $key) = @_; my $item = $self->items("get $key")->{$key}; return $item && $item->{value}; }
sub gets { my ($self, $key) = @_; return $self->items("gets $key")->{$key}; }

sub store
{
	my ($self, $command, $key, $value, %opt) = @_;
	my $cas = defined $opt{cas} ? " $opt{cas}" : '';
	my ($flags, $exptime) = ($opt{flags} // 0, $opt{exptime} // 0);
	return $self->ask("$command $key $flags $exptime " . length($value) . "$cas\r\n$value\r\n");
}
sub set { my ($self, @args) = @_; return $self->store('set', @args); }

# name => value of `stats [what]`.
sub stats
{
	my ($self, $what) = @_;
	$self->put('stats' . ($what ? " $what" : '') . "\r\n");
	my %stats;
	while (1) {
		my $line = $self->line // croak 'stats: the connection ended';
		return \%stats if $line eq 'END';
		my ($name, $value) = $line =~ /^STAT (\S+) ?(.*)$/ or croak "stats: unexpected '$line'";
		$stats{$name} = $value;
	}
}

1;
