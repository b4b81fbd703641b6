//! Escaping 64 bytes at once, on processors that can squeeze bytes together (AVX-512 VBMI2): each byte is set behind a
//! backslash, and one instruction leaves out the backslashes that nobody needs. A payload of JSON has a quote in every
//! eight bytes, where a loop that asks for each of them guesses wrong half of the time. Other processors take the way of
//! `json` alone; both write the same bytes, and the tests hold one against the other.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "these instructions may be used where the processor has them, which is asked first"
    )
)]

/// The bytes that are looked at at once.
#[cfg(target_arch = "x86_64")]
const WIDTH: usize = 64;

/// Escapes the beginning of `text` into `out`, up to the first byte that is neither plain nor a quote or backslash, or as
/// far as the room allows; says how many bytes were read and written.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn escape(out: &mut [u8], text: &[u8]) -> (usize, usize) {
    if is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
    {
        // SAFETY: the processor has what the function is compiled for.
        unsafe { avx512::escape(out, text) }
    } else {
        (0, 0)
    }
}

/// Not here: nothing is read.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn escape(_out: &mut [u8], _text: &[u8]) -> (usize, usize) {
    (0, 0)
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        _mm512_castsi512_si256, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_cvtepu8_epi16,
        _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_maskz_compress_epi8, _mm512_movepi8_mask,
        _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_slli_epi16, _mm512_storeu_si512,
        _pdep_u64,
    };

    use super::WIDTH;

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi2,popcnt")]
    pub(super) fn escape(out: &mut [u8], text: &[u8]) -> (usize, usize) {
        let (mut read, mut written) = (0, 0);
        while let Some(rest) = text.get(read..)
            && !rest.is_empty()
            && let Some(room) = out.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<{ 2 * WIDTH }>)
        {
            let mut end = [0; WIDTH];
            let block = match rest.first_chunk::<WIDTH>() {
                Some(block) => block,
                None => {
                    end[..rest.len()].copy_from_slice(rest);
                    &end
                }
            };
            // SAFETY: an array of 64 bytes is read.
            let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()));
            let mut odd = _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20)) | is(0x7f);
            if _mm512_movepi8_mask(bytes) != 0 {
                // Those that begin a character which may have to be escaped.
                odd |= is(0xc2) | is(0xd8) | is(0xe2) | is(0xef);
            }
            // Behind the end there are zeros, which are odd.
            let good = (odd & odd.wrapping_neg()).wrapping_sub(1);
            let quotes = (is(b'"') | is(b'\\')) & good;

            let mut at = 0;
            for (half, shift) in
                [(_mm512_castsi512_si256(bytes), 0), (_mm512_extracti64x4_epi64::<1>(bytes), 32)]
            {
                let low = |mask: u64| (mask >> shift) & 0xffff_ffff;
                let pairs = _mm512_or_si512(
                    _mm512_slli_epi16::<8>(_mm512_cvtepu8_epi16(half)),
                    _mm512_set1_epi16(i16::from(b'\\')),
                );
                let wanted = _pdep_u64(low(good), 0xaaaa_aaaa_aaaa_aaaa)
                    | _pdep_u64(low(quotes), 0x5555_5555_5555_5555);
                let squeezed = _mm512_maskz_compress_epi8(wanted, pairs);
                let Some(to) = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<WIDTH>) else { break };
                // SAFETY: an array of 64 bytes is written.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), squeezed) };
                at += wanted.count_ones() as usize;
            }
            let whole = good.count_ones() as usize;
            read += whole;
            written += at;
            if whole < WIDTH {
                break;
            }
        }
        (read, written)
    }
}
