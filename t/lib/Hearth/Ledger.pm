# SPDX-License-Identifier: BSD-3-Clause
# One client that changes a cache whose disk may fail, and the book of what each key may hold.
#
# A change that was acknowledged leaves one possibility; one that was refused (SERVER_ERROR) changes none; one whose answer
# never came (the connection was closed, or it waits) adds one. What is read, now or after a restart, must be possible;
# what was acknowledged and not touched by an unanswered change must be readable at any time. Values name their key and
# the number of the change, so nothing fits by chance.
package Hearth::Ledger;
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use Hearth::Client;
use Time::HiRes qw(sleep time);

# daemon; patience: seconds for an answer; size: bytes of a value, at most, drawn at random
sub new
{
	my ($class, %arg) = @_;
	return bless { patience => 20, size => 60, count => 0, may => {}, problems => [], acked => 0, refused => 0, lost => 0, %arg },
	    $class;
}

sub problem { my ($self, $text) = @_; push @{ $self->{problems} }, $text if @{ $self->{problems} } < 6; return; }
sub problems { my ($self) = @_; return join "\n", @{ $self->{problems} }; }
sub hang_up { my ($self) = @_; delete $self->{client}; return; }

# One line of answer; undef when the connection ends, cannot be made, or nothing comes in time.
sub ask
{
	my ($self, $bytes, $seconds) = @_;
	my $client = $self->{client} //= Hearth::Client->new($self->{daemon}->address, quiet => 1);
	my $end = time + ($seconds // $self->{patience});
	my $line = $client && eval {
		$client->put($bytes);
		while (index($client->{input}, "\r\n") < 0) {
			my $left = $end - time;
			die 'late' if $left <= 0 || !$client->fill($left);
		}
		$client->line;
	};
	$self->hang_up unless defined $line;
	return $line;
}

sub states { my ($self, $key) = @_; return @{ $self->{may}{$key} //= [undef] }; }

# Sends a change that makes `key` hold `state` and books its answer. Returns 'acked', 'refused' or 'lost'.
sub change
{
	my ($self, $bytes, $key, $state, $success) = @_;
	my @before = $self->states($key);
	my $line = $self->ask($bytes);
	if (!defined $line) {
		push @{ $self->{may}{$key} }, $state;
		$self->{lost}++;
		return 'lost';
	}
	if ($line =~ /^SERVER_ERROR /) {
		$self->{refused}++;
		$self->{last_error} = $line;
		return 'refused';
	}
	$self->problem("$key: answered '$line'") unless $line =~ $success;
	$self->{may}{$key} = [$state];
	$self->{acked}++;
	return 'acked';
}

sub value
{
	my ($self, $key) = @_;
	my $head = "$key#" . ++$self->{count} . ':';
	return $head . substr md5_hex($head) x (1 + $self->{size} / 32), 0, 1 + int rand $self->{size};
}

sub set
{
	my ($self, $key) = @_;
	my $value = $self->value($key);
	return $self->change("set $key 0 0 " . length($value) . "\r\n$value\r\n", $key, $value, qr/^STORED$/);
}

# Never refused: only when not even a mark can be made durable is it answered with an error, and the key goes all the same.
sub delete
{
	my ($self, $key) = @_;
	my $how = $self->change("delete $key\r\n", $key, undef, qr/^(?:DELETED|NOT_FOUND)$/);
	if ($how eq 'refused') {
		push @{ $self->{may}{$key} }, undef;
		my $state = $self->state;
		$self->problem("$key: a delete was refused in state $state: $self->{last_error}") if $state =~ /^(?:healthy|reserve)$/;
	}
	return $how;
}

# The state of its log, as stats persist has it; '' without an answer.
sub state
{
	my ($self) = @_;
	my $client = Hearth::Client->new($self->{daemon}->address, quiet => 1);
	return $client && eval { $client->stats('persist')->{state} } // '';
}

# Whether its log is well again within so many seconds.
sub heals
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	while ($self->state ne 'healthy') {
		return 0 if time > $end;
		sleep 0.02;
	}
	return 1;
}

# Any change of one of the keys `prefix`1 .. n.
sub any
{
	my ($self, $prefix, $n) = @_;
	my $key = $prefix . (1 + int rand $n);
	return rand() < 0.3 ? $self->delete($key) : $self->set($key);
}

# What is read now; undef when there is no answer.
sub read
{
	my ($self, @keys) = @_;
	my $client = $self->{client} //= Hearth::Client->new($self->{daemon}->address, quiet => 1);
	my $items = $client && eval { $client->items("get @keys") };
	$self->hang_up unless $items;
	return $items;
}

# Reads while the disk fails: keys without an open change are shown; of the others, nothing that is impossible.
sub reads_on
{
	my ($self, $what) = @_;
	my @open = grep { $self->states($_) > 1 } sort keys %{ $self->{may} };
	my @settled = grep { $self->states($_) == 1 } sort keys %{ $self->{may} };
	my $items = @settled ? $self->read(@settled) : {};
	return $self->problem("$what: reads are not answered") unless $items;
	$self->fits($_, $items->{$_}, $what) for @settled;
	for my $key (@open) {
		my $item = $self->read($key);
		$self->fits($key, $item->{$key}, $what) if $item && $item->{$key};
	}
	return;
}

sub fits
{
	my ($self, $key, $item, $what) = @_;
	my $value = $item && $item->{value};
	my @states = $self->states($key);
	return 1 if grep { defined $value ? defined $_ && $_ eq $value : !defined } @states;
	$self->problem(sprintf '%s: %s holds %s, possible: %s', $what, $key, short($value), join ', ', map { short($_) } @states);
	return 0;
}

sub short { my ($value) = @_; return defined $value ? "'" . substr($value, 0, 24) . "'" : 'nothing'; }

# After a restart: what is found must be possible, and is then the only possibility. A start that says that its files are
# not to be trusted may find nothing.
sub verify
{
	my ($self, $what) = @_;
	my @keys = sort keys %{ $self->{may} };
	$self->hang_up;
	my $items = @keys ? $self->read(@keys) : {};
	return $self->problem("$what: no answer after the restart") unless $items;
	for my $key (@keys) {
		$self->fits($key, $items->{$key}, $what) if $items->{$key} || $self->{daemon}->errors !~ /not to be trusted/;
		$self->{may}{$key} = [$items->{$key} && $items->{$key}{value}];
	}
	return;
}

1;
