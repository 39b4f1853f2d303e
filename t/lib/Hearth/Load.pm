# SPDX-License-Identifier: BSD-3-Clause
# Writing clients and the model they are held against.
#
# Each of the clients owns its keys, so what a key must hold follows from the one order in which its owner's commands
# were sent. A crash may lose the end of that order and nothing else: the state found afterwards must be the one after
# some command j, with j no earlier than the last command whose answer said or showed its effect (what was acknowledged
# is kept), and the same j for all keys of the client (what is left is a prefix: nothing is lost in the middle, and no
# deleted, flushed or overwritten value comes back). Values name their key and the number of the command that wrote
# them, so a value that no client wrote is found too.
#
# `evicting`: memory is short, so any key may be missing at any time; those that are there must fit one j.
package Hearth::Load;
use strict;
use warnings;
use Carp qw(croak);
use Errno qw(EAGAIN ECONNRESET EPIPE);
use Hearth::Client;
use List::Util qw(max min);
use Storable qw(dclone);
use Time::HiRes qw(time);


# new(daemon => ..., seed => N, clients => 8, keys => 60, evicting => 0, sizes => [...], huge => share of 300 kB,
# window => commands of a client under way, batch => commands it sends at once, at most)
sub new
{
	my ($class, %arg) = @_;
	my $self = bless { clients => 8, keys => 60, evicting => 0, sizes => [0, 10, 100, 100, 300, 4000, 4200, 9000],
		huge => 0.002, window => 48, batch => 12, clock => 0, commands => 0, problems => [], found => 0, %arg }, $class;
	srand $self->{seed};
	$self->{writers} = [map { $self->writer($_) } 0 .. $self->{clients} - 1];
	return $self;
}

# state: key => [flags, value, expiry] as of `base`; now: the same after all that was sent; sent: [key, new state]...;
# acked: how many of `sent` an answer vouches for; pending: what to make of the answers to come.
sub writer
{
	my ($self, $id) = @_;
	my @keys = map { "w$id-$_" } 1 .. $self->{keys};
	return { id => $id, keys => \@keys, state => {}, now => {}, sent => [], acked => 0, pending => [], last => {},
		token => {}, version => {}, count => 0 };
}

sub connect
{
	my ($self) = @_;
	for my $w (@{ $self->{writers} }) {
		$w->{client} = $self->{daemon}->client;
		$w->{client}->socket->blocking(0);
		@$w{qw(out in)} = ('', '');
		$w->{pending} = [];
		$w->{token} = {};
	}
	return;
}

sub problem
{
	my ($self, $text) = @_;
	push @{ $self->{problems} }, $text if $self->{found}++ < 10;
	return;
}
sub problems { my ($self) = @_; return join "\n", @{ $self->{problems} }; }

sub pick { return $_[rand @_]; }

sub value
{
	my ($self, $w, $key) = @_;
	my $size = rand() < $self->{huge} ? 300_000 : pick(@{ $self->{sizes} });
	my $head = "$key#$w->{count}:";
	return $head . 'abcdefghij' x ($size / 10) . '.';
}

sub alive
{
	my ($self, $item) = @_;
	return $item && (!$item->[2] || $item->[2] > $self->{clock});
}

# What the key holds after everything that was sent.
sub now { my ($self, $w, $key) = @_; my $item = $w->{now}{$key}; return $self->alive($item) ? $item : undef; }

# Notes a command's effect: undef = the key is gone.
sub change
{
	my ($w, $key, $item) = @_;
	push @{ $w->{sent} }, [$key, $item];
	$w->{now}{$key} = $item;
	$w->{last}{$key} = @{ $w->{sent} };
	$w->{version}{$key}++;
	return;
}

my @expiries = ([0, 0], [0, 0], [0, 0], [10_000, 10_000], [1_000_000, 1_000_000]);

# Chooses the next command of a writer: puts it into `out`, its effect into the model, its answer into `pending`.
# An answer is ['line', text, index, key, item]: index = what of `sent` it vouches for, item = what the key still holds
# if it turns out to have been evicted before.
sub issue
{
	my ($self, $w) = @_;
	my $key = pick(@{ $w->{keys} });
	$w->{count}++;
	$self->{commands}++;
	my $kind = rand 100;
	my $noreply = rand() < 0.12 ? ' noreply' : '';
	my $item = $self->now($w, $key);
	return $self->issue_read($w, $key) if $kind < 12;
	return $self->issue_delete($w, $key, $item, $noreply) if $kind < 27;
	return $self->issue_touch($w, $key, $item, $noreply) if $kind < 37;
	return $self->issue_count($w, $key, $item, $noreply) if $kind < 50 && !$self->{evicting};
	return $self->issue_store($w, $key, $item, $noreply);
}

sub answer
{
	my ($self, $w, $noreply, $expected, $index, $key, $missed) = @_;
	push @{ $w->{pending} }, ['line', $expected, $index, $key, $missed] unless $noreply;
	return;
}

sub issue_read
{
	my ($self, $w, $key) = @_;
	$w->{out} .= "gets $key\r\n";
	push @{ $w->{pending} }, ['gets', $key, $self->now($w, $key), $w->{last}{$key} // 0, $w->{version}{$key} // 0];
	return;
}

sub issue_delete
{
	my ($self, $w, $key, $item, $noreply) = @_;
	change($w, $key, undef);
	$w->{out} .= "delete $key$noreply\r\n";
	$self->answer($w, $noreply, $item ? 'DELETED' : 'NOT_FOUND', scalar @{ $w->{sent} }, $key);
	return;
}

sub issue_touch
{
	my ($self, $w, $key, $item, $noreply) = @_;
	my ($exptime, $expiry) = rand() < 0.2 ? (-1, -1) : @{ pick(@expiries) };
	my $new = $item && $expiry >= 0 ? [@$item[0, 1], $expiry && $self->{clock} + $expiry] : undef;
	my $version = $w->{version}{$key};
	my $missed = $expiry >= 0 ? $w->{now}{$key} : undef; # a miss leaves a tombstone only when it would have killed
	change($w, $key, $new // $missed);
	$w->{version}{$key} = $version if $new; # touch and gat keep the CAS
	my $gat = rand() < 0.4;
	my $index = @{ $w->{sent} };
	if ($gat) {
		$w->{out} .= "gat $exptime $key\r\n";
		push @{ $w->{pending} }, ['gat', $key, $item, $index, $missed];
	} else {
		$w->{out} .= "touch $key $exptime$noreply\r\n";
		$self->answer($w, $noreply, $item ? 'TOUCHED' : 'NOT_FOUND', $index, $key, $missed);
	}
	return;
}

sub issue_count
{
	my ($self, $w, $key, $item, $noreply) = @_;
	my $number = int rand 1000;
	my $word = pick('incr', 'decr');
	if ($item && $item->[1] !~ /^\d{1,18}$/) {
		if (rand() < 0.7) { # make it a number first
			$w->{out} .= "set $key 9 0 6\r\n100000\r\n";
			change($w, $key, [9, '100000', 0]);
			return $self->answer($w, '', 'STORED', scalar @{ $w->{sent} }, $key);
		}
		$w->{out} .= "$word $key $number$noreply\r\n";
		return $self->answer($w, $noreply, 'CLIENT_ERROR cannot increment or decrement non-numeric value',
			$w->{last}{$key} // 0, $key);
	}
	my $sum;
	$sum = $word eq 'incr' ? $item->[1] + $number : max(0, $item->[1] - $number) if $item;
	change($w, $key, $item ? [$item->[0], $sum, $item->[2]] : undef);
	$w->{out} .= "$word $key $number$noreply\r\n";
	return $self->answer($w, $noreply, $sum // 'NOT_FOUND', scalar @{ $w->{sent} }, $key);
}

sub issue_store
{
	my ($self, $w, $key, $item, $noreply) = @_;
	my $value = $self->value($w, $key);
	my ($exptime, $expiry) = @{ pick(@expiries) };
	my $flags = int rand 4294967296;
	my $new = [$flags, $value, $expiry && $self->{clock} + $expiry];
	my $word = $self->{evicting} ? pick('set', 'set', 'set', 'replace')
	    : pick('set', 'set', 'set', 'set', 'add', 'replace', 'append', 'prepend', 'cas');
	my $token = $w->{token}{$key};
	$word = 'set' if $word eq 'cas' && !$token || $item && $word =~ /pend/ && length $item->[1] > 20_000;
	my ($expected, $effect, $cas) = ('STORED', 1, '');
	if ($word eq 'add' && $item) {
		($expected, $effect) = ('NOT_STORED', 0);
	} elsif ($word =~ /replace|append|prepend/ && !$item) {
		($expected, $new) = ('NOT_STORED', undef);
	} elsif ($word eq 'append') {
		$new = [$item->[0], $item->[1] . $value, $item->[2]];
	} elsif ($word eq 'prepend') {
		$new = [$item->[0], $value . $item->[1], $item->[2]];
	} elsif ($word eq 'cas') {
		$cas = " $token->[0]";
		($expected, $new) = ('NOT_FOUND', undef) if !$item;
		($expected, $effect) = ('EXISTS', 0) if $item && $token->[1] != $w->{version}{$key};
	}
	change($w, $key, $new) if $effect;
	$w->{out} .= "$word $key $flags $exptime " . length($value) . "$cas$noreply\r\n$value\r\n";
	$self->answer($w, $noreply, $expected, $effect ? scalar @{ $w->{sent} } : $w->{last}{$key} // 0, $key);
	return;
}

# Takes what was answered so far off `in`; each answer is held against the model.
sub answers
{
	my ($self, $w) = @_;
	while (my $p = $w->{pending}[0]) {
		my $end = index $w->{in}, "\r\n";
		return if $end < 0;
		my $line = substr $w->{in}, 0, $end;
		my $index;
		if ($p->[0] eq 'line') {
			substr $w->{in}, 0, $end + 2, '';
			$index = $self->answered_line($w, $p, $line);
		} else {
			my ($length) = $line =~ /^VALUE \S+ \d+ (\d+)/;
			my $all = $end + 2 + (defined $length ? $length + 2 + 5 : 0);
			return if length $w->{in} < $all;
			my $value = defined $length ? substr $w->{in}, $end + 2, $length : undef;
			substr $w->{in}, 0, $all, '';
			$index = $self->answered_read($w, $p, $line, $value);
		}
		shift @{ $w->{pending} };
		$w->{acked} = $index if $index > $w->{acked};
	}
	return;
}

sub answered_line
{
	my ($self, $w, $p, $line) = @_;
	my (undef, $expected, $index, $key, $missed) = @$p;
	return $index if $line eq $expected;
	if ($self->{evicting} && $line =~ /^NOT_(?:FOUND|STORED)$/ && $expected ne 'NOT_FOUND') {
		missed($w, $key, $index, $missed);
		return $index;
	}
	$self->problem("client $w->{id}: $key: answered '$line', expected '$expected'");
	return $index;
}

# A command met a key that had been evicted: its effect is another one.
sub missed
{
	my ($w, $key, $index, $item) = @_;
	$w->{sent}[$index - 1][1] = $item;
	$w->{now}{$key} = $item if $w->{last}{$key} == $index;
	return;
}

sub answered_read
{
	my ($self, $w, $p, $line, $value) = @_;
	my ($kind, $key, $item, $index, $version) = @$p; # gat: what is left if it missed, in the version's place
	if (defined $value) {
		my ($flags, $cas) = $line =~ /^VALUE \S+ (\d+) \d+(?: (\d+))?/;
		if (!$item || $item->[0] != $flags || $item->[1] ne $value) {
			$self->problem("client $w->{id}: $kind $key shows " . shown([$flags, $value]) . ', expected ' . shown($item));
		}
		$w->{token}{$key} = [$cas, $version] if $kind eq 'gets';
	} elsif ($item && !$self->{evicting}) {
		$self->problem("client $w->{id}: $kind $key shows '$line', expected " . shown($item));
	} elsif ($item && $kind eq 'gat') {
		missed($w, $key, $index, $version);
	}
	return $index;
}

sub shown { my ($i) = @_; return $i ? "flags $i->[0] '" . substr($i->[1], 0, 40) . "' (" . length($i->[1]) . ')' : 'nothing'; }

# One step of all connections: false when nothing is under way any more, or the daemon went.
sub step
{
	my ($self, $issuing, $seconds) = @_;
	my ($r, $w) = ('', '');
	my $busy = 0;
	for my $writer (@{ $self->{writers} }) {
		next unless $writer->{client};
		if ($issuing && @{ $writer->{pending} } < $self->{window} && length $writer->{out} < 1 << 16) {
			$self->issue($writer) for 1 .. 1 + rand $self->{batch};
			$self->issue_read($writer, $writer->{keys}[0]) if rand() < 0.2;
		}
		my $fd = fileno $writer->{client}->socket;
		if (@{ $writer->{pending} } || length $writer->{out}) {
			$busy++;
			vec($r, $fd, 1) = 1;
			vec($w, $fd, 1) = 1 if length $writer->{out};
		}
	}
	return 0 unless $busy;
	my $n = select $r, $w, undef, $seconds;
	return 1 unless $n > 0;
	for my $writer (@{ $self->{writers} }) {
		$self->turn($writer, $r, $w) if $writer->{client};
	}
	return 1;
}

sub turn
{
	my ($self, $writer, $r, $w) = @_;
	my $socket = $writer->{client}->socket;
	my $fd = fileno $socket;
	my $gone = 0;
	if (vec $r, $fd, 1) {
		my $n = sysread $socket, $writer->{in}, 1 << 18, length $writer->{in};
		$gone = 1 if defined $n ? $n == 0 : !$!{EAGAIN};
		$self->answers($writer);
	}
	if (!$gone && vec $w, $fd, 1) {
		my $n = syswrite $socket, $writer->{out};
		if (defined $n) {
			substr $writer->{out}, 0, $n, '';
		} else {
			$gone = 1 unless $!{EAGAIN};
		}
	}
	if ($gone) {
		# What was answered before the end is still in the socket.
		while (sysread $socket, $writer->{in}, 1 << 18, length $writer->{in}) { 1; }
		$self->answers($writer);
		$writer->{client} = undef;
		$self->{gone}++;
	}
	return;
}

# Load for so many seconds; false when the daemon went meanwhile.
sub run
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	$self->{gone} = 0;
	while (time < $end && !$self->{gone}) {
		$self->step(1, 0.01);
	}
	$self->problem('the daemon went away under load: ' . $self->{daemon}->errors) if $self->{gone};
	return !$self->{gone};
}

# So many commands and their answers; false when the daemon went meanwhile, which is no problem.
sub commands
{
	my ($self, $n) = @_;
	my $target = $self->{commands} + $n;
	$self->{gone} = 0;
	while ($self->{commands} < $target && !$self->{gone}) {
		$self->step(1, 0.05);
	}
	while (!$self->{gone} && $self->step(0, 0.05)) { 1; }
	return !$self->{gone};
}

# The same model, of another daemon whose directory is a copy of this one's. Nothing may be under way.
sub copy
{
	my ($self, $daemon) = @_;
	my %rest = %$self;
	delete @rest{qw(daemon writers problems)};
	my @writers = map { my %w = %$_; delete $w{client}; dclone(\%w) } @{ $self->{writers} };
	return bless { %rest, daemon => $daemon, writers => \@writers, problems => [], found => 0 }, ref $self;
}

# Waits for all answers that are due. Commands without an answer are followed by a read, so that all are done.
sub settle
{
	my ($self) = @_;
	for my $w (@{ $self->{writers} }) {
		$self->issue_read($w, $_) for @{ $w->{keys} }[0 .. 2];
	}
	my $end = time + 60;
	while ($self->step(0, 0.05)) {
		croak 'no answer for a minute' if time > $end;
	}
	croak 'the daemon went away' if $self->{gone};
	return;
}

# All clients wait, one flushes. With $unanswered, returns without waiting for the answer.
sub flush
{
	my ($self, $unanswered) = @_;
	$self->settle;
	my ($first) = @{ $self->{writers} };
	for my $w (@{ $self->{writers} }) {
		push @{ $w->{sent} }, ['*', undef];
		$w->{now} = {};
		$w->{last}{$_} = @{ $w->{sent} } for @{ $w->{keys} };
		$w->{version}{$_}++ for @{ $w->{keys} };
	}
	$first->{out} .= "flush_all\r\n";
	$self->answer($first, '', 'OK', scalar @{ $first->{sent} }, '*');
	if ($unanswered) {
		$self->step(0, 0.001) for 1 .. rand 3;
		return;
	}
	1 while $self->step(0, 1);
	$_->{acked} = @{ $_->{sent} } for @{ $self->{writers} };
	return;
}

# After the daemon was killed: reads what the kernel still has.
sub drain
{
	my ($self) = @_;
	for my $writer (grep { $_->{client} } @{ $self->{writers} }) {
		my $socket = $writer->{client}->socket;
		$socket->blocking(0);
		while (sysread $socket, $writer->{in}, 1 << 18, length $writer->{in}) { 1; }
		$self->answers($writer);
		$writer->{client} = undef;
	}
	return;
}

# Moves the daemon's clock and the model's: a model second is a second, and tests take far less than the difference
# between the steps and the expiries used.
sub jump
{
	my ($self, $seconds) = @_;
	$self->settle;
	$self->{daemon}->jump($seconds);
	$self->{clock} += $seconds;
	return;
}

# ---- after a restart ----

# Holds what the daemon has against the model and goes on from there. True when it fits.
sub verify
{
	my ($self, $what) = @_;
	my $client = $self->{daemon}->client;
	my $before = $self->{found};
	my $live = 0;
	$self->{expired} = 0;
	for my $w (@{ $self->{writers} }) {
		my $found = $client->items("gets @{ $w->{keys} }");
		$live += keys %$found;
		$self->settle_on($w, $found, $what);
	}
	my $items = $client->stats->{curr_items};
	my $known = $live + $self->{expired};
	if (!$self->{evicting} && ($items < $live || $items > $known)) {
		$self->problem("$what: the daemon has $items items, the clients know of $live to $known");
	}
	$self->flush_agrees($what);
	return $self->{found} == $before;
}

# A flush that nobody saw answered happened for all or for none.
sub flush_agrees
{
	my ($self, $what) = @_;
	my @open = grep { defined $_->{flushed} } @{ $self->{writers} };
	my %seen = map { $_->{flushed} => 1 } @open;
	$self->problem("$what: an unanswered flush_all holds for some clients only") if keys %seen > 1;
	return;
}

sub same { my ($item, $found) = @_; return $item->[0] == $found->{flags} && $item->[1] eq $found->{value}; }

# Whether a key's state in the model fits what was found.
sub fits
{
	my ($self, $item, $found) = @_;
	return $self->alive($item) && same($item, $found) if $found;
	return $self->{evicting} || !$self->alive($item);
}

# Finds the j of a writer; its state is then the base of the next round.
sub settle_on
{
	my ($self, $w, $found, $what) = @_;
	my %state = %{ $w->{state} };
	my %wrong = map { $_ => 1 } grep { !$self->fits($state{$_}, $found->{$_}) } @{ $w->{keys} };
	my $j;
	my @least;
	for my $i (0 .. @{ $w->{sent} }) {
		if ($i > 0) {
			my ($key, $item) = @{ $w->{sent}[$i - 1] };
			for my $k ($key eq '*' ? @{ $w->{keys} } : $key) {
				$state{$k} = $item;
				$self->fits($item, $found->{$k}) ? delete $wrong{$k} : ($wrong{$k} = 1);
			}
		}
		next if $i < $w->{acked};
		@least = %wrong ? sort keys %wrong : () if $i == $w->{acked};
		$j = $i, last if !%wrong;
	}
	if (!defined $j) {
		my @show = map { "$_ holds " . shown($found->{$_} && [@{ $found->{$_} }{qw(flags value)}]) . ', acknowledged: '
		    . shown(state_at($w, $_, $w->{acked})) } @least[0 .. min(2, $#least)];
		$self->problem(sprintf '%s: client %d: no state of %d to %d fits: %s', $what, $w->{id}, $w->{acked},
			scalar @{ $w->{sent} }, join '; ', @show);
		$j = @{ $w->{sent} };
	}
	my $last = $w->{sent}[-1];
	$w->{flushed} = $last && $last->[0] eq '*' && $w->{acked} < @{ $w->{sent} } && %{ $w->{state} } && %$found
	    ? $j == @{ $w->{sent} } : undef;
	$self->rebase($w, $found, \%state);
	return;
}

sub state_at
{
	my ($w, $key, $index) = @_;
	my $item = $w->{state}{$key};
	for my $sent (@{ $w->{sent} }[0 .. $index - 1]) {
		$item = $sent->[1] if $sent->[0] eq $key || $sent->[0] eq '*';
	}
	return $item;
}

# What was found is where the next round begins. An evicted key may come back from the files, with the value that the
# model knows; where a command without an answer leaves it open which that is, the key is deleted.
sub rebase
{
	my ($self, $w, $found, $model) = @_;
	my %state;
	my %open = map { $_->[0] => 1 } @{ $w->{sent} }[$w->{acked} .. $#{ $w->{sent} }];
	for my $key (@{ $w->{keys} }) {
		my $item = $model->{$key};
		$self->{expired}++ if $item && !$self->alive($item);
		if ($found->{$key}) {
			$state{$key} = $item && same($item, $found->{$key}) ? $item
			    : [$found->{$key}{flags}, $found->{$key}{value}, 0];
		} elsif ($self->{evicting} && ($open{$key} || $open{'*'})) {
			$self->{daemon}->client->ask("delete $key\r\n");
		} elsif ($self->{evicting} && $self->alive($item)) {
			$state{$key} = $item;
		}
	}
	@$w{qw(state now sent acked last)} = (\%state, {%state}, [], 0, {});
	return;
}

# Without a crash: the present state becomes the base, which keeps the lists short.
sub checkpoint
{
	my ($self) = @_;
	$self->settle;
	for my $w (@{ $self->{writers} }) {
		$w->{acked} = @{ $w->{sent} };
	}
	return $self->verify('at rest');
}

1;
