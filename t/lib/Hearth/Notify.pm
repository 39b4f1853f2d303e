# SPDX-License-Identifier: BSD-3-Clause
# A service manager's end of $NOTIFY_SOCKET: the datagrams that a daemon sends, in order.
package Hearth::Notify;
use strict;
use warnings;
use Carp qw(croak);
use Hearth::Process qw(scratch_dir);
use IO::Select;
use IO::Socket::UNIX;
use Socket qw(SOCK_DGRAM MSG_DONTWAIT);
use Time::HiRes qw(time);

# abstract => NAME: in the space of names instead of a path.
sub new
{
	my ($class, %arg) = @_;
	my $path = $arg{abstract} ? "\0$arg{abstract}" : scratch_dir() . '/notify';
	my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path) or croak "notify socket: $!";
	return bless { socket => $socket, address => $path =~ s/^\0/@/r, all => [] }, $class;
}

# What NOTIFY_SOCKET is to say.
sub address { my ($self) = @_; return $self->{address}; }

# All that have come until now.
sub all
{
	my ($self) = @_;
	while (defined recv $self->{socket}, my $text, 4096, MSG_DONTWAIT) {
		push @{ $self->{all} }, $text;
	}
	return @{ $self->{all} };
}

sub forget { my ($self) = @_; $self->all; $self->{all} = []; return; }

# Waits for one that matches: it, or undef after so many seconds. Those that came before count, too.
sub await
{
	my ($self, $pattern, $seconds) = @_;
	my $end = time + ($seconds // 60);
	while (1) {
		my ($found) = grep { $_ =~ $pattern } $self->all;
		return $found if defined $found;
		my $left = $end - time;
		return undef if $left <= 0;
		IO::Select->new($self->{socket})->can_read($left);
	}
}

1;
