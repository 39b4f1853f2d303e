#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The same random commands to Hearth and to Debian's memcached, pipelined and cut into pieces anywhere: the same bytes
# come back, but for these differences, each of which the generator avoids or the comparison evens out:
#  - CAS numbers: each side has its own; both must be equal and different at the same places.
#  - VERSION: Hearth answers the protocol level 1.6.45.
#  - incr and decr leave spaces behind a shorter number in memcached: they are taken off before comparing, and what was
#    counted is never appended to.
#  - 1.6.18 says ERROR to many lines that lack words, 1.6.45 CLIENT_ERROR bad command line format: both count as one
#    here, the exact text is in t/5001-answers.t.
#  - A store whose line is bad: 1.6.45 swallows its data, 1.6.18 takes some of it for a command. Left out, as are
#    ` get k`, `delete k 1`, `gat 10`, keys that are too long in get, lengths beyond 32 bits, which they take differently.
#  - incr of a text that begins with white space or digits: memcached reads on into what lies behind the value, and
#    fills up with spaces. Texts here begin with neither.
#  - incr and decr of a number from 2^63 on: 1.6.18 looks for a minus sign up to the next zero byte, far behind the value,
#    and now and then finds one: a number is said to be none. Told apart, also when the answer was not wanted and the
#    number that stayed is seen later, and both sides begin anew.
#  - Who has won an item, and that it was fetched, is forgotten there when a number is counted while a reader has it: mg
#    shows no Z, or h0. Once in a hundred thousand commands; told apart, and both sides begin anew.
#  - flags beyond 32 bits, times beyond 2038: refused or taken on purpose (t/5001-answers.t).
#  - meta commands: 1.6.18 knows no E and no x, gives ms no s, does nothing for N of ms, shows the key of an item that b and
#    N made as it is, answers ma with q when N made the number, forgets with append that a key was coded, takes only one letter behind M, and says other things to
#    bad lines, gives T and c of ma to the item as it was when its number becomes longer (t/5001-answers.t has those of 1.6.45). Left out. A number that becomes longer is no longer stale there: no
#    number is made stale here. Remaining and past seconds are not compared: the clocks tick at different moments.
#  - object sizes near -I: the header of an item has another size.
#  - a delayed flush_all behind an immediate one: what the first flushed comes to life again in 1.6.18. Left out, and
#    checked in t/5010-time.t.
# HEARTH_SEED repeats a run.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(long_run);
use MIME::Base64 qw(encode_base64);
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $batches = $ENV{HEARTH_BATCHES} // (long_run() ? 3000 : 250);
srand $seed;
diag "seed $seed" if $ENV{HEARTH_SEED};

my @sides = (
	{ name => 'hearth', daemon => Hearth::Daemon->start(dir => 'none', args => ['-m', 1024, '-t', 2]) },
	{ name => 'memcached',
		daemon => Hearth::Daemon->start(program => '/usr/bin/memcached', args => ['-m', 1024, '-t', 2]) },
);
$_->{client} = $_->{daemon}->client for @sides;

# Keys for text and keys for numbers.
my @text = (map({ "t$_" } 1 .. 12), 'k' x 250);
my @count = map { "n$_" } 1 .. 6;
my %token;      # key => rank of the last CAS that was seen for it
my @next_token; # per side: number of each rank

sub pick { return $_[rand @_]; }
sub text_key { return pick(@text); }
sub count_key { return pick(@count); }
sub any_key { return pick(@text, @count); }
sub exptime { return pick(0, 0, 0, 0, 1000, 2592000, 2000000000, -1, -1000, 1000000000); }
sub quiet { return rand() < 0.15 ? ' noreply' : ''; }
sub number { return pick(0, 1, 9, 10, 99, 100, 12345, '18446744073709551615', '18446744073709551614', int rand 1e9); }

sub value
{
	my $length = pick(0, 1, 2, 10, 50, 100, 100, 200, 1000, 4095, 4096, 4097, int rand 300, int rand 9000);
	$length = 20000 + int rand 600000 if rand() < 0.01;
	my $alphabet = pick("\r\n", "get t1\r\n", "0123456789", "END\r\nVALUE ", join '', map { chr } 0 .. 255);
	my $value = $alphabet x (1 + $length / length $alphabet);
	$value = substr $value, int rand(length($value) - $length), $length;
	$value =~ s/^[\s\d+]/x/;
	return $value;
}

# A command as the text for each side.
sub storage
{
	my $value = value();
	my $length = length $value;
	my $word = pick('set', 'set', 'set', 'add', 'replace', 'append', 'prepend');
	return sprintf("%s %s %u %d %u%s\r\n%s\r\n", $word, text_key(), pick(0, 1, 4294967295), exptime(), $length, quiet(),
		$value);
}

sub cas
{
	my $key = any_key();
	my $rank = rand() < 0.8 ? $token{$key} : $token{ any_key() };
	my $value = $key =~ /^n/ ? number() : value();
	my ($exptime, $length, $quiet) = (exptime(), length $value, quiet());
	my @sent;
	for my $side (0, 1) {
		my $number = defined $rank ? $next_token[$side][$rank] : 0;
		push @sent, "cas $key 7 $exptime $length $number$quiet\r\n$value\r\n";
	}
	return @sent;
}

sub counting
{
	my $key = count_key();
	my $number = number();
	return pick(
		"set $key 3 0 " . length($number) . "\r\n$number\r\n", "incr $key $number" . quiet() . "\r\n",
		"decr $key $number" . quiet() . "\r\n", 'incr ' . any_key() . " 1\r\n", "decr $key x\r\n", "incr $key -1\r\n",
		"add $key 0 0 2\r\n10\r\n",
	);
}

sub reading
{
	my $keys = join ' ', map { any_key() } 1 .. 1 + rand 6;
	my $seconds = exptime();
	return pick("get $keys\r\n", "gets $keys\r\n", "gets $keys\r\n", "gat $seconds $keys\r\n", "gats $seconds $keys\r\n");
}

sub other
{
	return pick(
		'delete ' . any_key() . quiet() . "\r\n", 'delete ' . any_key() . " 0\r\n", 'delete ' . any_key() . "\r\n",
		'touch ' . any_key() . ' ' . exptime() . quiet() . "\r\n", "verbosity 0\r\n",
		rand() < 0.2 ? 'flush_all' . pick('', ' 0', ' noreply') . "\r\n" : "verbosity 1\r\n", "mget\r\n",
	);
}

# The number that this side knows by the rank of a CAS, now and then one of another key.
sub compare
{
	my ($key) = @_;
	my $rank = rand() < 0.7 ? $token{$key} : $token{ any_key() };
	return map { 'C' . (defined $rank ? $next_token[$_][$rank] : 0) } 0, 1;
}

# Some of them in any order.
sub shuffled { my @some = map { [rand, $_] } grep { rand() < 0.4 } @_; return map { $_->[1] } sort { $a->[0] <=> $b->[0] } @some; }

# A meta command for each side: some of these flags in any order, one of which may compare.
sub meta
{
	my ($line, $key, $flags, $value) = @_;
	my @flags = shuffled(@$flags);
	my @compare = rand() < 0.2 ? compare($key) : ('', '');
	return map { join(' ', $line, @flags, $compare[$_] || ()) . "\r\n" . ($value // '') } 0, 1;
}

sub meta_reading
{
	my $key = any_key();
	my @flags = (qw(v v f t k l q), 'O' . int rand 1000, 'T' . exptime());
	push @flags, 'h', 's' if $key !~ /^n/;
	push @flags, pick('N30', 'N0', 'R50', 'R2000');
	return join(' ', "mg $key", shuffled(sort keys %{ { map { $_ => 1 } @flags } })) . "\r\n"; # 1.6.18 does not compare here
}

sub meta_storage
{
	my $key = text_key();
	my $value = value();
	my @flags = ('F' . int rand 1000, 'T' . exptime(), 'c', 'k', 'q', 'O1', 'I', 'M' . pick(qw(E A P R S)));
	return meta("ms $key " . length $value, $key, \@flags, "$value\r\n");
}

sub meta_coded
{
	my $key = pick('c1', 'c22', 'c333', pack 'C*', 0, 1, 13, 10, 32, 255);
	my $coded = encode_base64($key, '');
	$key = 'c1' if $key =~ /\s/;
	return pick("ms $coded 3 b k\r\nabc\r\n", "mg $coded k b v\r\n", "mg $key k v\r\n", "md $coded b k O2\r\n");
}

sub meta_other
{
	my ($text, $count) = (text_key(), count_key());
	my @mark = ('k', 'O' . int rand 99, 'q', 'I', 'T' . exptime());
	my @number = ('N' . exptime(), 'J' . number(), 'D' . number(), 'M' . pick(qw(I D + -)), qw(t k v), 'O3');
	return rand() < 0.4 ? meta("md $text", $text, \@mark) : rand() < 0.9 ? meta("ma $count", $count, \@number) : "mn\r\n";
}

my $long = 'k' x 251;
sub bad
{
	return pick(
		"\r\n", "foo\r\n", "GET t1\r\n", "get\r\n", "gets\r\n", "set t1 0 0\r\n", "set t1 0 0 -1\r\n",
		"set t1 0 0 x\r\n", "set t1 0 0 3\r\nabcdef\r\n", "set t1 0 0 3\r\nabc\n\r\n", "incr t1\r\n", "incr\r\n",
		"delete\r\n", "delete $long\r\n", "incr $long 1\r\n", "get  t1\r\n", "get t1 \r\n", "set t1 0 0 1 \r\n1\r\n",
		"set t1 0 0 1 norep\r\n1\r\n", "flush_all x\r\n", "get t1\n", "delete t1\n", "touch t1 x\r\n",
		"gat x t1\r\n", "touch t1\r\n", "verbosity\r\n", "verbosity x\r\n",
	);
}

# Ten kinds, so many of each.
sub command
{
	my $kind = rand 100;
	my @sent = $kind < 8 ? meta_reading() : $kind < 15 ? meta_storage() : $kind < 17 ? meta_coded()
	    : $kind < 23 ? meta_other() : $kind < 35 ? storage() : $kind < 38 ? cas() : $kind < 55 ? counting() : $kind < 80 ? reading()
	    : $kind < 95 ? other() : bad();
	return @sent == 1 ? ($sent[0], $sent[0]) : @sent;
}

# Sends in pieces of a random size, reading whenever something is there; returns the whole answer up to the end mark.
sub exchange
{
	my ($side, $bytes, $piece) = @_;
	my $client = $side->{client};
	my $socket = $client->socket;
	my $fd = fileno $socket;
	my ($answer, $sent) = ('', 0);
	$socket->blocking(0);
	while ($answer !~ /^VERSION [\d.]+\r\nERROR\r\n\z/m) {
		my ($r, $w) = ('', '');
		vec($r, $fd, 1) = 1;
		vec($w, $fd, 1) = 1 if $sent < length $bytes;
		select($r, $w, undef, 30) or die "$side->{name} does not answer, so far: " . substr $answer, -300;
		if (vec $r, $fd, 1) {
			sysread($socket, $answer, 1 << 20, length $answer) or die "$side->{name} hung up: " . substr $answer, -300;
		}
		if (vec $w, $fd, 1) {
			$sent += syswrite($socket, $bytes, $piece ? 1 + rand $piece : length $bytes, $sent) // 0;
		}
	}
	$socket->blocking(1);
	return $answer;
}

# An answer as lines, with values taken out of the way of the lines, and CAS numbers by rank.
sub digest
{
	my ($side, $answer, $see) = @_;
	my @lines;
	my ($ranks, $numbers) = ($side->{rank} //= {}, $side->{numbers} //= []);
	while ($answer =~ /\G([^\n]*\n)/gc) {
		my $line = $1;
		if ($line =~ /^VALUE (\S+) (\d+) (\d+)(?: (\d+))?\r\n/) {
			my ($key, $flags, $cas) = ($1, $2, $4);
			my $value = substr $answer, pos $answer, $3;
			pos($answer) += $3 + 2;
			$value =~ s/^(\d+) +\z/$1/ if $key =~ /^n/;
			if (defined $cas) {
				if (!defined $ranks->{$cas}) {
					$ranks->{$cas} = @$numbers;
					push @$numbers, $cas;
				}
				$see->{$key} = $ranks->{$cas};
			}
			my $shown = length $value > 60 ? length($value) . ' bytes ' . unpack '%32C*', $value : $value;
			push @lines, "VALUE $key $flags " . (defined $cas ? "cas $ranks->{$cas} " : '') . $shown;
			next;
		}
		if ($line =~ /^(?:VA (\d+)|HD)(?: .*)?\r\n/) {
			my $length = $1;
			$line =~ s/ ([tl])\d+/ $1#/g;
			if ($line =~ / c(\d+)/) {
				my $cas = $1;
				if (!defined $ranks->{$cas}) {
					$ranks->{$cas} = @$numbers;
					push @$numbers, $cas;
				}
				$line =~ s/ c\d+/ cas $ranks->{$cas}/;
				$see->{$1} = $ranks->{$cas} if $line =~ / k(\S+)/;
			}
			push(@lines, $line), next unless defined $length;
			my $value = substr $answer, pos $answer, $length;
			pos($answer) += $length + 2;
			if ($value =~ s/^(\d+) +\z/$1/) {
				my $shorter = length $value;
				$line =~ s/^VA $length/VA $shorter/;
				$line =~ s/ s$length/ s$shorter/;
			}
			push @lines, $line;
			push @lines, length $value > 60 ? length($value) . ' bytes ' . unpack '%32C*', $value : $value;
			next;
		}
		push @lines, $line =~ s/^VERSION .*/VERSION/r =~ s/^(?:CLIENT_ERROR bad command line format.*|ERROR\r)$/refused/r;
	}
	return @lines;
}

# Both forget everything, and what was known of their CAS numbers is no longer.
sub begin_anew
{
	for my $side (@sides) {
		is($side->{client}->ask("flush_all\r\n"), 'OK', "$side->{name} begins anew");
		delete @$side{qw(rank numbers)};
	}
	%token = ();
	return;
}

my ($same, $commands, $misread, $unwon) = (0, 0, 0, 0);
for my $batch (1 .. $batches) {
	my @sent = ('', '');
	my @shown;
	$next_token[$_] = $sides[$_]{numbers} // [] for 0, 1;
	for (1 .. 1 + rand 40) {
		my @command = command();
		$sent[$_] .= $command[$_] for 0, 1;
		push @shown, substr $command[0], 0, 120;
		$commands++;
	}
	# The end mark: no command of the generator answers so.
	$_ .= "version\r\nnosuchcommand\r\n" for @sent;
	my $piece = pick(0, 0, 7, 100, 1500);
	$piece = 1500 if $piece && length $sent[0] > 50_000;
	my @lines = map { [digest($sides[$_], exchange($sides[$_], $sent[$_], $piece), \%token)] } 0, 1;
	$same++, next if join('', @{ $lines[0] }) eq join '', @{ $lines[1] };
	my ($at) = grep { ($lines[0][$_] // '') ne ($lines[1][$_] // '') } 0 .. $#{ $lines[0] };
	my ($ours, $theirs) = map { $_->[ $at // -1 ] // '' } @lines;
	if ($ours =~ s/ Z\b//r =~ s/ h1\b/ h0/r eq $theirs =~ s/ h1\b/ h0/r && $ours ne $theirs && $theirs !~ / Z\b/ && ++$unwon < 2 + $batches / 1000) {
		begin_anew();
		$same++;
		next;
	}
	my $refused = $ours =~ /^(?:\d+\r\n\z|VA \d|HD)/ && $theirs =~ /^CLIENT_ERROR cannot increment or decrement non-numeric value/;
	# Without an answer it is seen when the number is read, there as it was before.
	my ($left) = join(' ', map { $_ // '' } @{ $lines[1] }[ $at // -1, ($at // -1) + 1 ]) =~ /^(?:VALUE n|VA ).*?\b(\d{19,20})\b/s;
	my $silent = $ours =~ /^(?:VALUE n|VA \d)/ && defined $left && (length $left == 20 || $left ge '9223372036854775808');
	if (($refused || $silent) && ++$misread < $batches / 20) {
		begin_anew();
		$same++;
		next;
	}
	diag "seed $seed, batch $batch, pieces $piece, answer line " . ($at // 'behind the last') . ':';
	diag "  $sides[$_]{name}: " . ($lines[$_][ $at // -1 ] // 'nothing') for 0, 1;
	diag "  all of it: ", join '', map { "    $_" } @{ $lines[$_] } for grep { $ENV{HEARTH_SHOW} } 0, 1;
	diag map { '  ' . s/\r?\n.*//sr =~ s/[^\x20-\x7e]/./gr . "\n" } @shown;
	last;
}
is($same, $batches, "$commands random commands in $batches batches are answered alike, seed $seed");
is($_->{daemon}->stop, 0, "$_->{name} stops in order") for @sides;
done_testing();
