"""What images of the drawn board can show: species, traits, figures and scenes."""
